/**
 * Creates pipes for the outputs of children. Bun has no function for it, so it calls libc's `pipe2` through FFI; if that is not
 * possible, spawn.ts falls back to Bun's socket pairs. Used only by spawn.ts.
 */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { closeSync } from "node:fs";

/** The same value on x86-64 and aarch64. */
const O_CLOEXEC = 0o2000000;
const LIBC_NAMES = ["libc.so.6", "libc.so"] as const;

type Pipe2 = (fds: NonNullable<ReturnType<typeof ptr>>, flags: number) => number;
let pipe2: Pipe2 | undefined;
let isPipe2Resolved = false;

/** Both ends of a pipe. `close()` closes the write end, and the read end unless it was taken. */
export interface Pipe {
  readonly writeFd: number;
  /** Transfers ownership of the read end to the caller. */
  takeRead(): number;
  close(): void;
}

/**
 * Opens a pipe with both ends close-on-exec. Returns undefined when libc cannot be called or no descriptors are left (then the
 * following spawn fails with EMFILE).
 */
export function openPipe(): Pipe | undefined {
  const fds = new Int32Array(2);
  if (findPipe2()?.(ptr(fds), O_CLOEXEC) !== 0) return undefined;
  const [readFd, writeFd] = fds as unknown as readonly [number, number];
  let taken = false;
  return {
    writeFd,
    takeRead() {
      taken = true;
      return readFd;
    },
    close() {
      closeSync(writeFd);
      if (!taken) closeSync(readFd);
    },
  };
}

function findPipe2(): Pipe2 | undefined {
  if (isPipe2Resolved) return pipe2;
  isPipe2Resolved = true;
  for (const name of LIBC_NAMES) {
    try {
      pipe2 = dlopen(name, { pipe2: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.i32 } })
        .symbols.pipe2;
      return pipe2;
    } catch {
      // Try the next name. Without a libc, children get sockets.
    }
  }
  return undefined;
}
