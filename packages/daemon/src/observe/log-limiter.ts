/** Keeps repeated messages from filling the log: each key gets one line per period, and reports how many it held back. */
import type { Clock } from "../time/clock.ts";

const PERIOD_MS = 60_000;
/** Keys tracked within one period; messages of further keys are held back. */
const KEYS_MAX = 1024;

interface Passed {
  readonly atMs: number;
  heldBack: number;
}

/**
 * Decides whether a message may be logged. The key says which messages count as the same: a peer's address, a node id, or the
 * message itself. Holds at most KEYS_MAX keys, so it also bounds the lines logged per period.
 */
export class LogLimiter {
  readonly #clock: Clock;
  readonly #periodMs: number;
  /** By key; the key that passed longest ago comes first. */
  readonly #passed = new Map<string, Passed>();

  constructor(clock: Clock, periodMs = PERIOD_MS) {
    this.#clock = clock;
    this.#periodMs = periodMs;
  }

  /** The number of messages held back for `key` since its last line, or undefined if this one must be held back too. */
  pass(key: string): number | undefined {
    const atMs = this.#clock.monotonicMs();
    const before = this.#passed.get(key);
    if (before !== undefined && atMs - before.atMs < this.#periodMs) {
      before.heldBack++;
      return undefined;
    }
    if (before === undefined && !this.#hasRoom(atMs)) return undefined;
    // Deleted first, so that it moves to the end.
    this.#passed.delete(key);
    this.#passed.set(key, { atMs, heldBack: 0 });
    return before?.heldBack ?? 0;
  }

  /** Forgets every key: after a recovery the next message is news. */
  reset(): void {
    this.#passed.clear();
  }

  #hasRoom(nowMs: number): boolean {
    for (const [key, { atMs }] of this.#passed) {
      if (this.#passed.size < KEYS_MAX) return true;
      if (nowMs - atMs < this.#periodMs) return false;
      this.#passed.delete(key);
    }
    return true;
  }
}
