/** A manually advanced clock for tests. */
import type { Clock, Timer } from "./clock.ts";

interface Pending {
  readonly atMs: number;
  readonly order: number;
  readonly fn: () => void;
}

/** A clock that only the test moves. Due timers fire in order of their time, then of their creation. */
export class FakeClock implements Clock {
  #monotonicMs = 0;
  #wallOffsetMs: number;
  #order = 0;
  readonly #pending = new Set<Pending>();

  constructor(startMs = 1_783_500_000_000) {
    this.#wallOffsetMs = startMs;
  }

  nowMs(): number {
    return this.#wallOffsetMs + this.#monotonicMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, fn: () => void): Timer {
    const pending: Pending = {
      atMs: this.#monotonicMs + Math.max(0, delayMs),
      order: this.#order++,
      fn,
    };
    this.#pending.add(pending);
    return { cancel: () => void this.#pending.delete(pending) };
  }

  /** Number of pending timers. */
  get timers(): number {
    return this.#pending.size;
  }

  /** Moves only the wall clock, as an administrator or NTP does. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Advances time by `byMs` (≥ 0) as if the process were suspended: due timers fire late, in the next `advance`. */
  stall(byMs: number): void {
    this.#monotonicMs = this.#endAfter(byMs);
  }

  /**
   * Advances time by `byMs` (≥ 0) and fires each due timer at its time, including timers set by other timers. Timers set by
   * promise callbacks are not seen; use `run` for these.
   */
  advance(byMs: number): void {
    const endMs = this.#endAfter(byMs);
    while (this.#fireNext(endMs));
    this.#monotonicMs = Math.max(this.#monotonicMs, endMs);
  }

  /** Like `advance`, but lets promises settle before the first timer, between timers and after the last. */
  async run(byMs: number): Promise<void> {
    const endMs = this.#endAfter(byMs);
    do await settle();
    while (this.#fireNext(endMs));
    this.#monotonicMs = Math.max(this.#monotonicMs, endMs);
  }

  #endAfter(byMs: number): number {
    if (!(byMs >= 0)) throw new RangeError(`time can only advance: ${byMs}`);
    return this.#monotonicMs + byMs;
  }

  #fireNext(endMs: number): boolean {
    const next = this.#next();
    if (next === undefined || next.atMs > endMs) return false;
    this.#pending.delete(next);
    this.#monotonicMs = Math.max(this.#monotonicMs, next.atMs);
    next.fn();
    return true;
  }

  #next(): Pending | undefined {
    let best: Pending | undefined;
    for (const p of this.#pending) {
      if (
        best === undefined ||
        p.atMs < best.atMs ||
        (p.atMs === best.atMs && p.order < best.order)
      )
        best = p;
    }
    return best;
  }
}

/** Resolves when all promises have settled that need no timer or external event. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
