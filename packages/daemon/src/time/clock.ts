/**
 * Time, as a value that is passed in. Everything that needs the time takes a `Clock`, so tests can step it.
 * This is the only file that reads the host's clocks (lint forbids it elsewhere).
 */

/** A pending timer. */
export interface Timer {
  /** Stops the timer from firing. Safe to call twice and after it fired. */
  cancel(): void;
}

/** Wall time for records, monotonic time for ages and deadlines. */
export interface Clock {
  /** Unix time, ms. Jumps when the host's clock is set. */
  nowMs(): number;
  /** Ms since an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Calls `fn` once, `delayMs` (≥ 0) from now. */
  after(delayMs: number, fn: () => void): Timer;
}

/** The longest delay a host timer takes (2^31 − 1 ms); a longer one is cut to it. */
const TIMER_DELAY_MS_MAX = 2_147_483_647;

/** The host's clocks. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, fn) {
    const id = setTimeout(fn, Math.min(Math.max(0, delayMs), TIMER_DELAY_MS_MAX));
    return { cancel: () => clearTimeout(id) };
  },
};

/** Resolves `delayMs` from now; rejects with the signal's reason when it is aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener("abort", abort);
      resolve();
    });
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort, { once: true });
  });
}

/**
 * Calls `fn` every `periodMs`, the first time one period from now. A slow `fn` delays the next call, calls never overlap.
 * What `fn` throws goes to `onError` and the calls go on; without `onError` it is nobody's, and so ends the process. (F4)
 */
export function every(
  clock: Clock,
  periodMs: number,
  fn: () => void | Promise<void>,
  onError?: (error: unknown) => void,
): Timer {
  let cancelled = false;
  let timer: Timer | undefined;
  const arm = (): void => {
    if (!cancelled) timer = clock.after(periodMs, tick);
  };
  const tick = (): void => {
    let busy: void | Promise<void>;
    try {
      busy = fn();
    } catch (error) {
      arm();
      if (onError === undefined) throw error;
      onError(error);
      return;
    }
    if (busy === undefined) arm();
    else void busy.catch(onError).finally(arm);
  };
  arm();
  return {
    cancel() {
      cancelled = true;
      timer?.cancel();
    },
  };
}
