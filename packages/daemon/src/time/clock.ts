/**
 * Injected time: all code that depends on time takes a `Clock`, so that tests can control it. This is the only file that reads
 * the host's clocks (lint forbids it elsewhere).
 */

/** A pending timer. */
export interface Timer {
  /** Prevents the timer from firing. Safe to call twice and after it fired. */
  cancel(): void;
}

/** Wall-clock time for records, monotonic time for ages and deadlines. */
export interface Clock {
  /** Unix time, ms. Jumps when the host's clock is set. */
  nowMs(): number;
  /** Ms since an arbitrary start; never decreases. */
  monotonicMs(): number;
  /** Calls `fn` once after `delayMs` (≥ 0). */
  after(delayMs: number, fn: () => void): Timer;
}

/** The longest delay a host timer supports (2^31 − 1 ms); longer ones are clamped. */
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

/** Resolves after `delayMs`; rejects with the signal's reason if it is aborted first. */
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
 * Calls `fn` every `periodMs`, first after one period. A slow `fn` delays the next call, so calls never overlap. Errors of `fn`
 * are passed to `onError` and the calls continue; without `onError` they are unhandled and end the process. (F4)
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
