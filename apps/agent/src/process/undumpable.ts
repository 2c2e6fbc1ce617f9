/**
 * Hides the agent's memory and environment from its sensors: a process of the same uid may read /proc/PID/{environ,mem} and
 * attach to a process only while that is dumpable. In the static build the stub has already done this; this is for the dynamic
 * build. (A10)
 */
import { dlopen, FFIType } from "bun:ffi";
import type { Log } from "@fleet/daemon";

const PR_SET_DUMPABLE = 4;
const LIBC_NAMES = ["libc.so.6", "libc.so"] as const;

/** Call it before the first sensor runs. Takes about 0.1 ms. A failure is logged and does not stop the agent. */
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
  log.warn(
    { err: cause },
    "could not hide the agent's memory and environment from sensors of its uid",
  );
}
