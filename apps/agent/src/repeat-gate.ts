/** Keeps a log from saying the same thing over and over. */
import type { Clock } from "@fleet/daemon";

/** Lets a message through when it differs from the last one, or when `periodMs` have passed since that was let through. */
export class RepeatGate {
  readonly #clock: Clock;
  readonly #periodMs: number;
  #last: string | undefined;
  #lastMs = 0;
  #suppressed = 0;

  constructor(clock: Clock, periodMs = 60_000) {
    this.#clock = clock;
    this.#periodMs = periodMs;
  }

  /** How many messages were held back since the last one let through (undefined: hold this one back too). */
  pass(message: string): number | undefined {
    const nowMs = this.#clock.monotonicMs();
    if (message === this.#last && nowMs - this.#lastMs < this.#periodMs) {
      this.#suppressed++;
      return undefined;
    }
    const suppressed = this.#suppressed;
    this.#last = message;
    this.#lastMs = nowMs;
    this.#suppressed = 0;
    return suppressed;
  }

  /** Things are well again: the next message is news. */
  reset(): void {
    this.#last = undefined;
    this.#suppressed = 0;
  }
}
