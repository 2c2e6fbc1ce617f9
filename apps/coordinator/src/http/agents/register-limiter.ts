/**
 * How many agents may be on their way in at once. The others are told at once when to come back, spread over as many seconds
 * as those before them will take: a fleet that comes all together is let in one after the other, and nobody waits in a queue
 * that nobody bounds. (A13)
 */
import type { Clock, Random } from "@fleet/daemon";

/** Registers that are under way. */
export const UNDER_WAY_MAX = 512;
/** How many are taken to get in each second; a fraction of what a slow disk allows. */
const EACH_SECOND = 500;
const RETRY_S_MAX = 25;
const WINDOW_MS = 1000;

/** Counts them. */
export class RegisterLimiter {
  /** Agents that were told to come back. */
  refused = 0;
  readonly #clock: Clock;
  readonly #random: Random;
  #underWay = 0;
  #windowMs = 0;
  #refusedInWindow = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** After how many seconds to come back, when too many are under way. Asked before more of a request is read. */
  turnAway(): { readonly retryAfterS: number } | undefined {
    return this.#underWay < UNDER_WAY_MAX ? undefined : { retryAfterS: this.#retryAfterS() };
  }

  /** Runs `work`, which waits for nobody outside, unless too many are under way. */
  async admit<T>(work: () => Promise<T>): Promise<T | { readonly retryAfterS: number }> {
    const later = this.turnAway();
    if (later !== undefined) return later;
    this.#underWay++;
    try {
      return await work();
    } finally {
      this.#underWay--;
    }
  }

  #retryAfterS(): number {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#windowMs >= WINDOW_MS) {
      this.#windowMs = nowMs;
      this.#refusedInWindow = 0;
    }
    this.refused++;
    const spreadS = Math.min(RETRY_S_MAX, ++this.#refusedInWindow / EACH_SECOND);
    return 1 + Math.floor(this.#random.next() * spreadS);
  }
}
