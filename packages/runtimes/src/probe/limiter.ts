/**
 * Lets at most so many tasks run at a time; the others wait in the order they came. One that takes long no longer counts, so that a
 * few which hang do not hold up the rest.
 */
import type { ProbeClock } from "./run-probe.ts";

export class Limiter {
  readonly #clock: ProbeClock;
  readonly #holdMs: number;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** `tasksMax` ≥ 1. A task counts for `holdMs` at most. */
  constructor(tasksMax: number, holdMs: number, clock: ProbeClock) {
    this.#free = tasksMax;
    this.#holdMs = holdMs;
    this.#clock = clock;
  }

  /** Starts at once, in this very call, when there is a place. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let holds = true;
    const release = (): void => {
      if (!holds) return;
      holds = false;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    };
    const timer = this.#clock.after(this.#holdMs, release);
    try {
      return await task();
    } finally {
      timer.cancel();
      release();
    }
  }
}
