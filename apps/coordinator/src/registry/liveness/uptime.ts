/**
 * The coordinator's own time: how long it has been up and attending, over all its runs. The silence of nodes is measured in
 * it, so no node is held silent for a time in which it could not be heard: while the coordinator was down, or while it was
 * stalled (a stopped process, an overloaded machine) and messages waited in its sockets. (R4, R5)
 */
import type { Clock } from "@fleet/daemon";

/** Ticks that may be missed before the gap counts as a stall of this process rather than as silence of the nodes. */
export const TICKS_LATE_MAX = 2;

/** Advances with the monotonic clock, but between two calls of `look` by at most `stepMsMax`. */
export class Uptime {
  readonly #clock: Clock;
  readonly #stepMsMax: number;
  #baseMs = 0;
  #lookedMs = 0;
  #startedMs = 0;

  constructor(clock: Clock, stepMsMax: number) {
    this.#clock = clock;
    this.#stepMsMax = stepMsMax;
    this.start(0);
  }

  /** Begins this run; `earlierMs` is the uptime of all earlier runs. */
  start(earlierMs: number): void {
    this.#startedMs = earlierMs;
    this.#baseMs = earlierMs;
    this.#lookedMs = this.#clock.monotonicMs();
  }

  /** The uptime when this run began, ms. */
  get startedMs(): number {
    return this.#startedMs;
  }

  /** Now, ms, with a fraction: only the value on disk is in whole ms. */
  get nowMs(): number {
    return this.#baseMs + Math.min(this.#clock.monotonicMs() - this.#lookedMs, this.#stepMsMax);
  }

  /** Must be called at least every `stepMsMax`. Returns the ms since the last call that do not count. */
  look(): number {
    const clockMs = this.#clock.monotonicMs();
    const stepMs = clockMs - this.#lookedMs;
    const countedMs = Math.min(stepMs, this.#stepMsMax);
    this.#baseMs += countedMs;
    this.#lookedMs = clockMs;
    return stepMs - countedMs;
  }
}
