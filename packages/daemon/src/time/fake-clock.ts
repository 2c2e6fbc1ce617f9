/** A clock that moves only when told to. For tests. */
import type { Clock, Timer } from "./clock.ts";

interface Pending {
  readonly atMs: number;
  readonly order: number;
  readonly fn: () => void;
}

/** Steps time by hand: `advance` fires what falls due, in order of its time, then of its making. */
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

  /** How many timers are waiting. */
  get timers(): number {
    return this.#pending.size;
  }

  /** Moves the wall clock alone, as an administrator or NTP does. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Moves time on by `byMs` (≥ 0) while nothing runs, as when the process is stopped: what falls due fires late, with the next `advance`. */
  stall(byMs: number): void {
    this.#monotonicMs = this.#endAfter(byMs);
  }

  /**
   * Moves time on by `byMs` (≥ 0), firing each timer at its own time. Timers set by a firing timer fire too when they fall
   * due; those set by promises that settle meanwhile do not, see `run`.
   */
  advance(byMs: number): void {
    const endMs = this.#endAfter(byMs);
    while (this.#fireNext(endMs));
    this.#monotonicMs = Math.max(this.#monotonicMs, endMs);
  }

  /** As `advance`, but lets promises settle before the first timer, between timers and after the last. */
  async run(byMs: number): Promise<void> {
    const endMs = this.#endAfter(byMs);
    do await settle();
    while (this.#fireNext(endMs));
    this.#monotonicMs = Math.max(this.#monotonicMs, endMs);
  }

  #endAfter(byMs: number): number {
    if (!(byMs >= 0)) throw new RangeError(`time does not go back: ${byMs}`);
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

/** Resolves when every promise that can settle without a timer or outside event has. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
