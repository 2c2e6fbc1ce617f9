/**
 * Limits concurrent registrations. Beyond the limit an agent gets 503 with a Retry-After that spreads the returns over the
 * time the backlog needs, so that nothing queues without bound when a whole fleet registers at once. (A13)
 */
import type { Clock, Random } from "@fleet/daemon";

/** The most registrations in progress. */
export const IN_PROGRESS_MAX = 512;
/** The assumed rate of registrations; a fraction of what a slow disk allows. */
const PER_SECOND = 500;
const RETRY_S_MAX = 25;
const WINDOW_MS = 1000;

/** Counts registrations in progress and those refused in the current second. */
export class RegisterLimiter {
  /** Registrations refused since the start. */
  refused = 0;
  readonly #clock: Clock;
  readonly #random: Random;
  #inProgress = 0;
  #windowMs = 0;
  #refusedInWindow = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Undefined while there is room; else counts a refusal and returns when to try again, in seconds. */
  retryAfterS(): number | undefined {
    if (this.#inProgress < IN_PROGRESS_MAX) return undefined;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#windowMs >= WINDOW_MS) {
      this.#windowMs = nowMs;
      this.#refusedInWindow = 0;
    }
    this.refused++;
    const spreadS = Math.min(RETRY_S_MAX, ++this.#refusedInWindow / PER_SECOND);
    return 1 + Math.floor(this.#random.next() * spreadS);
  }

  /** Runs `work`, which must not wait for the client, unless too many registrations are in progress. */
  async run<T>(work: () => Promise<T>): Promise<T | { readonly retryAfterS: number }> {
    const retryAfterS = this.retryAfterS();
    if (retryAfterS !== undefined) return { retryAfterS };
    this.#inProgress++;
    try {
      return await work();
    } finally {
      this.#inProgress--;
    }
  }
}
