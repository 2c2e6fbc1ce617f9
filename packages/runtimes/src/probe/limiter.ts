/**
 * Limits the number of concurrent tasks; the others wait in FIFO order. A task gives up its slot after a fixed time, so that a
 * few hanging tasks do not block the rest.
 */
import type { ProbeClock } from "./run-probe.ts";

/** A FIFO semaphore whose slots are released after `slotMs` at the latest. */
export class Limiter {
  readonly #clock: ProbeClock;
  readonly #slotMs: number;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** `tasksMax` ≥ 1. */
  constructor(tasksMax: number, slotMs: number, clock: ProbeClock) {
    this.#free = tasksMax;
    this.#slotMs = slotMs;
    this.#clock = clock;
  }

  /** Runs the task, synchronously if a slot is free, and returns its result. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let holdsSlot = true;
    const release = (): void => {
      if (!holdsSlot) return;
      holdsSlot = false;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    };
    const timer = this.#clock.after(this.#slotMs, release);
    try {
      return await task();
    } finally {
      timer.cancel();
      release();
    }
  }
}
