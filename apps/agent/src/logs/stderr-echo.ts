/** Copies a sensor's stderr to the agent's own log, at a bounded rate, so that a noisy sensor does not flood it. (A11) */
import type { Clock, Log } from "@fleet/daemon";

/** Lines per second, after a burst of BURST lines. */
const LINES_PER_S = 20;
const BURST = 100;

/** One per sensor. Lines above the rate are counted; the next copied line carries their number. */
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
