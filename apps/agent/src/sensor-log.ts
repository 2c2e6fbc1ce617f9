/** What a sensor writes to stderr, as log lines: bounded in length and rate, so that a noisy sensor can't drown the agent. (A11) */
import type { Clock, Log } from "@fleet/daemon";
import { LineDecoder } from "@fleet/protocol";

const LINE_BYTES_MAX = 8192;
/** Lines a second that are let through, after a first burst of as many as BURST. */
const LINES_PER_S = 20;
const BURST = 100;

/** One for each sensor. Lines that are over the rate, or too long, are counted; the count goes with the next line that gets through. */
export class SensorLog {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #lines = new LineDecoder(LINE_BYTES_MAX);
  readonly #decoder = new TextDecoder();
  #tooMany = 0;
  #allowance = BURST;
  #refilledMs: number;
  #reported = 0;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
    this.#refilledMs = clock.monotonicMs();
  }

  /** A piece of stderr, cut anywhere. */
  push(chunk: Uint8Array): void {
    this.#lines.push(chunk, (bytes, start, end) => {
      if (end > start) this.#line(bytes.subarray(start, end));
    });
  }

  #line(line: Uint8Array): void {
    const nowMs = this.#clock.monotonicMs();
    const refill = ((nowMs - this.#refilledMs) / 1000) * LINES_PER_S;
    this.#allowance = Math.min(BURST, this.#allowance + refill);
    this.#refilledMs = nowMs;
    if (this.#allowance < 1) {
      this.#tooMany++;
      return;
    }
    this.#allowance--;
    const all = this.#tooMany + this.#lines.oversized;
    const suppressed = all - this.#reported;
    this.#reported = all;
    const fields = suppressed === 0 ? {} : { lines_suppressed: suppressed };
    this.#log.info({ ...fields, stderr: this.#decoder.decode(line) }, "stderr");
  }
}
