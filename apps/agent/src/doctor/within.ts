/** Waiting with an end. Used all over the doctor, which must not hang where the agent would. */
import type { Clock } from "@fleet/daemon";

/** What `promise` comes to, or undefined when that takes longer than `limitMs`; it is then let go, not stopped. */
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
