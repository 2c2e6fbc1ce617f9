/** Keeps strangers from filling the log: of each key, such as an address or a node, one line a minute. */
import type { Clock } from "@fleet/daemon";

const PERIOD_MS = 60_000;
/** Keys that are told apart within a minute; what comes of others is held back. */
const KEYS_MAX = 1024;

interface Spoken {
  readonly atMs: number;
  heldBack: number;
}

/** Bounded in memory, and with it the lines let through each minute. */
export class LogGate {
  readonly #clock: Clock;
  /** By key, the one that spoke longest ago first. */
  readonly #spoken = new Map<string, Spoken>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many lines of `key` were held back since the last one let through (undefined: hold this one back too). */
  pass(key: string): number | undefined {
    const atMs = this.#clock.monotonicMs();
    const before = this.#spoken.get(key);
    if (before !== undefined && atMs - before.atMs < PERIOD_MS) {
      before.heldBack++;
      return undefined;
    }
    if (before === undefined && !this.#hasRoom(atMs)) return undefined;
    // Deleted first, so that it goes to the end.
    this.#spoken.delete(key);
    this.#spoken.set(key, { atMs, heldBack: 0 });
    return before?.heldBack ?? 0;
  }

  #hasRoom(nowMs: number): boolean {
    for (const [key, { atMs }] of this.#spoken) {
      if (this.#spoken.size < KEYS_MAX) return true;
      if (nowMs - atMs < PERIOD_MS) return false;
      this.#spoken.delete(key);
    }
    return true;
  }
}
