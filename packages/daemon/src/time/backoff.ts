/** Retry delays: exponential, capped, then jittered, so that clients that failed together do not retry together. */
import type { Random } from "./random.ts";

/** `baseMs` doubles with each failure up to `capMs`. */
export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
}

/**
 * The delay before the next attempt after `failures` (≥ 1) consecutive failures: uniform in the upper half of
 * `min(capMs, baseMs · 2^(failures − 1))`. The jitter is applied after the cap, so capped retries still spread.
 */
export function backoffMs(options: BackoffOptions, failures: number, random: Random): number {
  const exponent = Math.min(Math.max(1, failures) - 1, 30);
  const full = Math.min(options.capMs, options.baseMs * 2 ** exponent);
  return full / 2 + random.next() * (full / 2);
}
