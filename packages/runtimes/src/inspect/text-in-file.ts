/** Finds text in a binary file, such as the version of a program that has no version option. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** Files are read in chunks into one buffer: 2 MB take a fraction of a millisecond. */
const CHUNK_BYTES = 128 * 1024;

/** Bytes searched. Programs with such text are 1 to 2 MB. */
const SEARCH_BYTES_MAX = 4 * 1024 * 1024;

/** Non-blocking, because the path may be a FIFO. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;

/** The `charsMax` bytes after the first `marker` in the file, as Latin-1; undefined without a marker or when the file can't be read. */
export function textAfter(path: string, marker: string, charsMax: number): string | undefined {
  const overlap = marker.length + charsMax;
  const chunk = Buffer.allocUnsafe(overlap + CHUNK_BYTES);
  try {
    const file = openSync(path, OPEN_FLAGS);
    try {
      // Each chunk follows the tail of the previous one, so that text across the boundary is found.
      let kept = 0;
      for (let position = 0; position < SEARCH_BYTES_MAX;) {
        const read = readSync(file, chunk, kept, CHUNK_BYTES, position);
        const held = chunk.subarray(0, kept + read);
        const at = held.indexOf(marker);
        const isLast = read === 0 || position + read >= SEARCH_BYTES_MAX;
        if (at !== -1 && (isLast || at + overlap <= held.length)) {
          return held.toString("latin1", at + marker.length, at + overlap);
        }
        if (isLast) return undefined;
        position += read;
        kept = Math.min(overlap, held.length);
        chunk.copy(chunk, 0, held.length - kept, held.length);
      }
    } finally {
      closeSync(file);
    }
  } catch {
    // An unreadable file has no text.
  }
  return undefined;
}

/** The first `bytesMax` bytes of a file, as Latin-1; undefined when it can't be read. */
export function readStart(path: string, bytesMax: number): string | undefined {
  try {
    const file = openSync(path, OPEN_FLAGS);
    try {
      const bytes = Buffer.allocUnsafe(Math.min(fstatSync(file).size, bytesMax));
      let held = 0;
      while (held < bytes.length) {
        const read = readSync(file, bytes, held, bytes.length - held, held);
        if (read === 0) break;
        held += read;
      }
      return bytes.toString("latin1", 0, held);
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}
