/** Waits with a time limit. Used throughout the doctor, which must not hang where the agent would. */
import type { Clock } from "@fleet/daemon";

/** The result of `promise`, or undefined after `limitMs`; the work behind it is abandoned, not stopped. */
export async function within<T>(
  clock: Clock,
  limitMs: number,
  promise: Promise<T>,
): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = clock.after(limitMs, () => late.resolve(undefined));
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    timer.cancel();
  }
}
