/** Reads the outputs of a child in chunks, without a thread and with backpressure. Used by spawn.ts. */
import { closeSync } from "node:fs";

/** One output of a process. At most one bounded chunk is read ahead of `read()`, so a slow reader slows the writer. */
export interface ByteSource {
  /** The next chunk, owned by the caller; undefined at the end or after `close()`. Calls must not overlap. */
  read(): Promise<Uint8Array | undefined>;
  /** Ends a pending `read()` and closes the descriptor. Safe to call twice. */
  close(): void;
}

/**
 * Takes ownership of the pipe `fd` and reads it event-driven, in newly allocated chunks of at most 256 KiB. The first `read()`
 * closes `fd`, since Bun has duplicated it by then.
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

/** Reads one of Bun's own streams. Must be called immediately: until then Bun buffers without bound. */
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
