/** Counts what the frame port turned away or cut off, by reason, and tells the log, once a minute for each address. */
import { type Clock, type Counts, type Log, LogLimiter } from "@fleet/daemon";

/** One for the whole port. */
export class Refusals {
  readonly #counts: Counts;
  readonly #log: Log;
  readonly #logLimiter: LogLimiter;

  constructor(counts: Counts, clock: Clock, log: Log) {
    this.#counts = counts;
    this.#log = log;
    this.#logLimiter = new LogLimiter(clock);
  }

  /** `reason` is a literal of ours. */
  add(address: string, reason: string): void {
    this.#counts.add(reason);
    const held = this.#logLimiter.pass(address);
    if (held === undefined) return;
    this.#log.warn({ address, reason, held_back: held }, "frames: connection refused");
  }
}
