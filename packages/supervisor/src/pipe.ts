/**
 * Pipes for the outputs of children. Bun has no call that makes one, so libc's `pipe2` is asked; where there is no libc to
 * ask, spawn.ts falls back to Bun's own socket pairs. Used by spawn.ts alone.
 */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { closeSync } from "node:fs";

/** The same on x86-64 and aarch64. */
const O_CLOEXEC = 0o2000000;
const LIBC_NAMES = ["libc.so.6", "libc.so"] as const;

type Pipe2 = (fds: NonNullable<ReturnType<typeof ptr>>, flags: number) => number;
let pipe2: Pipe2 | undefined;
let pipe2Sought = false;

/** Both ends of a pipe. `close()` closes the ends that were not taken. */
export interface Pipe {
  readonly writeFd: number;
  /** Hands the read end to the caller, who closes it. */
  takeRead(): number;
  close(): void;
}

/**
 * A new pipe, both ends close-on-exec. Undefined when libc cannot be called, or the process has no descriptors left (then
 * the spawn that follows fails with EMFILE and says so).
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
  if (pipe2Sought) return pipe2;
  pipe2Sought = true;
  for (const name of LIBC_NAMES) {
    try {
      pipe2 = dlopen(name, { pipe2: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.i32 } })
        .symbols.pipe2;
      return pipe2;
    } catch {
      // The next name may do; without any, children get sockets.
    }
  }
  return undefined;
}
