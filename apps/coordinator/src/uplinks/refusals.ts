/** Counts what the frame port turned away or cut off, by reason, and tells the log, once a minute for each address. */
import type { Clock, Log } from "@fleet/daemon";
import type { Counts } from "../counts.ts";
import { LogGate } from "../log-gate.ts";

/** One for the whole port. */
export class Refusals {
  readonly #counts: Counts;
  readonly #log: Log;
  readonly #gate: LogGate;

  constructor(counts: Counts, clock: Clock, log: Log) {
    this.#counts = counts;
    this.#log = log;
    this.#gate = new LogGate(clock);
  }

  /** `reason` is a literal of ours. */
  add(address: string, reason: string): void {
    this.#counts.add(reason);
    const held = this.#gate.pass(address);
    if (held === undefined) return;
    this.#log.warn({ address, reason, held_back: held }, "frames: connection refused");
  }
}
