/** Finds a banner inside a program's file, such as a version that is asked of it no other way. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** One piece at a time into the same memory: reading 2 MB this way costs a fraction of a millisecond. */
const PIECE_BYTES = 128 * 1024;

/** Programs with such banners are 1 to 2 MB; nothing is looked for beyond this. */
const SEARCH_BYTES_MAX = 4 * 1024 * 1024;

/** A FIFO must not hold us up. */
const OPEN = constants.O_RDONLY | constants.O_NONBLOCK;

/** The `charsMax` bytes that follow the first `marker` in the file, as Latin-1; undefined when it is not there or the file can't be read. */
export function textAfter(path: string, marker: string, charsMax: number): string | undefined {
  const overlap = marker.length + charsMax;
  const piece = Buffer.allocUnsafe(overlap + PIECE_BYTES);
  try {
    const file = openSync(path, OPEN);
    try {
      // Each piece follows the tail of the one before, so a banner across the border is found.
      let kept = 0;
      for (let position = 0; position < SEARCH_BYTES_MAX;) {
        const read = readSync(file, piece, kept, PIECE_BYTES, position);
        const held = piece.subarray(0, kept + read);
        const at = held.indexOf(marker);
        const isLast = read === 0 || position + read >= SEARCH_BYTES_MAX;
        if (at !== -1 && (isLast || at + overlap <= held.length)) {
          return held.toString("latin1", at + marker.length, at + overlap);
        }
        if (isLast) return undefined;
        position += read;
        kept = Math.min(overlap, held.length);
        piece.copy(piece, 0, held.length - kept, held.length);
      }
    } finally {
      closeSync(file);
    }
  } catch {
    // Unreadable: as if it were not there.
  }
  return undefined;
}

/** At most `bytesMax` of a file, as Latin-1; undefined when it can't be read. */
export function startOf(path: string, bytesMax: number): string | undefined {
  try {
    const file = openSync(path, OPEN);
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
