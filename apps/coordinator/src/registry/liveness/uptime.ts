/**
 * The coordinator's own time: how long it has been up and attending, over all its runs. Silence of nodes is measured in it,
 * so that nobody is held silent for what could not be heard: while the coordinator was down, or while it stalled (a stopped
 * process, a machine at its limit) and what nodes said waited in its sockets. (R4, R5)
 */
import type { Clock } from "@fleet/daemon";

/** Ticks that may be missed before the gap counts as a stall of this process rather than as silence of the nodes. */
export const TICKS_LATE_MAX = 2;

/** Goes on with the monotonic clock, but between two looks at it by no more than `stepMsMax`. */
export class Uptime {
  readonly #clock: Clock;
  readonly #stepMsMax: number;
  #baseMs: number;
  #lookedMs: number;
  /** What it was when this run began, ms. */
  readonly startedMs: number;

  /** `earlierMs` is the uptime of earlier runs. */
  constructor(clock: Clock, earlierMs: number, stepMsMax: number) {
    this.#clock = clock;
    this.#stepMsMax = stepMsMax;
    this.#baseMs = earlierMs;
    this.#lookedMs = clock.monotonicMs();
    this.startedMs = earlierMs;
  }

  /** Now, ms. The fraction is kept: it is whole ms only on disk. */
  get nowMs(): number {
    return this.#baseMs + Math.min(this.#clock.monotonicMs() - this.#lookedMs, this.#stepMsMax);
  }

  /** To be called at least every `stepMsMax`. Gives the ms since the last time that are not counted. */
  look(): number {
    const clockMs = this.#clock.monotonicMs();
    const stepMs = clockMs - this.#lookedMs;
    const countedMs = Math.min(stepMs, this.#stepMsMax);
    this.#baseMs += countedMs;
    this.#lookedMs = clockMs;
    return stepMs - countedMs;
  }
}
