/** How the outputs of a child are read: in pieces, without a thread, and only as fast as they are asked for. Used by spawn.ts. */
import { closeSync } from "node:fs";

/** One output of a process, read in pieces. Nothing is read ahead of `read()` but a bounded piece, so not reading slows the writer. */
export interface ByteSource {
  /** The next piece, never reused; undefined at the end or after `close()`. One call at a time. */
  read(): Promise<Uint8Array | undefined>;
  /** Ends a waiting `read()` and frees the descriptor. Safe to call twice. */
  close(): void;
}

/**
 * Reads the pipe `fd`, which it owns. The reading is event-driven (no thread waits), in pieces of at most 256 KiB that are
 * allocated for the caller. `fd` is closed as soon as Bun has taken its own copy, at the first `read()`.
 */
export function fdSource(fd: number): ByteSource {
  const reader = Bun.file(fd).stream().getReader() as Reader;
  let open = true;
  const release = (): void => {
    if (!open) return;
    open = false;
    closeSync(fd);
  };
  return readerSource(reader, release);
}

/** Reads one of Bun's own streams. The stream must be taken at once: Bun buffers without bound until it is. */
export function streamSource(stream: unknown): ByteSource {
  if (!(stream instanceof ReadableStream)) throw new TypeError("the output is not piped");
  return readerSource(stream.getReader() as Reader, () => {});
}

interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

function readerSource(reader: Reader, release: () => void): ByteSource {
  let closed = false;
  return {
    async read() {
      if (closed) return undefined;
      try {
        const next = reader.read();
        release();
        const { done, value } = await next;
        return done || closed ? undefined : value;
      } catch {
        return undefined;
      }
    },
    close() {
      if (closed) return;
      closed = true;
      release();
      reader.cancel().catch(() => {});
    },
  };
}
