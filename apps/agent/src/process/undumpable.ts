/**
 * Closes the agent's memory and environment to its sensors: processes of the same uid may read /proc/PID/{environ,mem} and
 * attach to a process only while it is dumpable. The static file's stub has done it before anything ran; this is for the
 * dynamic build. (A10)
 */
import { dlopen, FFIType } from "bun:ffi";
import type { Log } from "@fleet/daemon";

const PR_SET_DUMPABLE = 4;
const LIBC_NAMES = ["libc.so.6", "libc.so"] as const;

/** Call before the first sensor runs. What keeps it from working is logged; the agent goes on. About 0.1 ms. */
export function makeUndumpable(log: Log): void {
  let cause: unknown;
  for (const name of LIBC_NAMES) {
    try {
      const { prctl } = dlopen(name, {
        prctl: {
          args: [FFIType.i32, FFIType.u64, FFIType.u64, FFIType.u64, FFIType.u64],
          returns: FFIType.i32,
        },
      }).symbols;
      if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) === 0) return;
      cause = new Error("prctl(PR_SET_DUMPABLE) was refused");
    } catch (error) {
      cause = error;
    }
  }
  log.warn({ err: cause }, "sensors of this uid can read the agent's memory and environment");
}
