/** What a sensor writes to stderr, repeated in the agent's own log: bounded in rate, so that a noisy sensor can't drown the agent. (A11) */
import type { Clock, Log } from "@fleet/daemon";

/** Lines a second that are let through, after a first burst of as many as BURST. */
const LINES_PER_S = 20;
const BURST = 100;

/** One for each sensor. Lines that are over the rate are counted; the count goes with the next line that gets through. */
export class StderrEcho {
  readonly #clock: Clock;
  readonly #log: Log;
  #suppressed = 0;
  #allowance = BURST;
  #refilledMs: number;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
    this.#refilledMs = clock.monotonicMs();
  }

  line(text: string): void {
    const nowMs = this.#clock.monotonicMs();
    const refill = ((nowMs - this.#refilledMs) / 1000) * LINES_PER_S;
    this.#allowance = Math.min(BURST, this.#allowance + refill);
    this.#refilledMs = nowMs;
    if (this.#allowance < 1) {
      this.#suppressed++;
      return;
    }
    this.#allowance--;
    const fields = this.#suppressed === 0 ? {} : { lines_suppressed: this.#suppressed };
    this.#suppressed = 0;
    this.#log.info({ ...fields, stderr: text }, "stderr");
  }
}
