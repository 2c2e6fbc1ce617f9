/** Retry delays: exponential, capped, then jittered, so that a crowd that failed together does not return together. */
import type { Random } from "./random.ts";

/** `baseMs` doubles with each failure up to `capMs`. */
export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
}

/**
 * The delay before the next try after `failures` (≥ 1) failures in a row: uniform in the upper half of
 * `min(capMs, baseMs · 2^(failures − 1))`. The jitter comes after the cap, so capped retries still spread.
 */
export function backoffMs(options: BackoffOptions, failures: number, random: Random): number {
  const exponent = Math.min(Math.max(1, failures) - 1, 30);
  const full = Math.min(options.capMs, options.baseMs * 2 ** exponent);
  return full / 2 + random.next() * (full / 2);
}
