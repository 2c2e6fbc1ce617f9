/**
 * Locks open files by flock(2). The kernel holds a lock while the file is open, so it ends with the process, however that ends.
 * It also works between containers that share a volume, where pids and clocks can't be compared. (A2)
 */
import { dlopen, FFIType, type Pointer, read } from "bun:ffi";

/** `unsupported`: the file system has no such locks, or libc could not be loaded. */
export type LockAttempt = "locked" | "busy" | "unsupported";

const LOCK_EX = 2;
const LOCK_NB = 4;
/** The same on x86-64 and aarch64. */
const EWOULDBLOCK = 11;
const LIBC_NAMES = ["libc.so.6", "libc.so"] as const;

interface Libc {
  flock(fd: number, operation: number): number;
  errnoAddress(): Pointer | bigint | null;
}

let libc: Libc | undefined;

/** Takes the exclusive lock of an open file without waiting. Closing the descriptor releases it. */
export function tryLock(fd: number): LockAttempt {
  libc ??= openLibc();
  if (libc === undefined) return "unsupported";
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return "locked";
  const errno = libc.errnoAddress();
  return errno !== null && read.i32(Number(errno), 0) === EWOULDBLOCK ? "busy" : "unsupported";
}

function openLibc(): Libc | undefined {
  for (const name of LIBC_NAMES) {
    try {
      const { flock, __errno_location } = dlopen(name, {
        flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
        __errno_location: { args: [], returns: FFIType.ptr },
      }).symbols;
      return { flock, errnoAddress: __errno_location };
    } catch {
      // Another C library may have the next name.
    }
  }
  return undefined;
}
