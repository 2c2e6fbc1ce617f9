/** Counts the connections that the frame port refuses or cuts off, by reason, and logs them once a minute for each address. */
import { type Clock, type Counts, type Log, LogLimiter } from "@fleet/daemon";

/** The refusals of one frame port. */
export class Refusals {
  readonly #counts: Counts;
  readonly #log: Log;
  readonly #logLimiter: LogLimiter;

  constructor(counts: Counts, clock: Clock, log: Log) {
    this.#counts = counts;
    this.#log = log;
    this.#logLimiter = new LogLimiter(clock);
  }

  /** Counts a refusal. `reason` is a literal in our code, never text of the peer. */
  add(address: string, reason: string): void {
    this.#counts.add(reason);
    const held = this.#logLimiter.pass(address);
    if (held === undefined) return;
    this.#log.warn({ address, reason, held_back: held }, "frames: connection refused");
  }
}
