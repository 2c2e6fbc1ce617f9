/**
 * How surely a track follows a target: the probability that one exists, seen or hidden, against "all of it was false
 * alarms, or the target has gone". The Markov chain with two kinds of existence (D. Mušicki,
 * R. Evans and S. Stanković, "Integrated probabilistic data association", IEEE Trans. Autom. Control 39, 1994): a
 * target that fades is hidden for a while and not gone. Its odds are the likelihood ratio of sequential track
 * confirmation (R. W. Sittler, IEEE Trans. Mil. Electron. 8, 1964; Blackman and Popoli 1999, §6.2), which also forgets.
 * Owned by `track.ts`; pure arithmetic.
 */

/** Mean times: until a target fades, that it is hidden, and that it stays at all; s. */
const SEEN_S = 60;
const HIDDEN_S = 5;
const STAY_S = 120;

/** What a time without a look does; the same for all tracks of a frame. */
export interface Passing {
  /** The share that stays. */
  readonly stays: number;
  /** How far seen and hidden come to their balance, 0 to 1. */
  readonly relaxed: number;
}

/** `dtS` seconds (≥ 0) pass. */
export function passing(dtS: number): Passing {
  return {
    stays: Math.exp(-dtS / STAY_S),
    relaxed: 1 - Math.exp(-dtS * (1 / SEEN_S + 1 / HIDDEN_S)),
  };
}

/** Of targets that stay, those not hidden, in the long run. */
const SEEN_SHARE = SEEN_S / (SEEN_S + HIDDEN_S);

export class Existence {
  #seen: number;
  #hidden = 0;

  /** `odds` of a target against a false alarm, before anything but the first detection is known. */
  constructor(odds: number) {
    this.#seen = odds / (1 + odds);
  }

  /** The probability that there is a target. */
  get probability(): number {
    return this.#seen + this.#hidden;
  }

  /** The probability that there is one and it is not hidden. */
  get seenProbability(): number {
    return this.#seen;
  }

  /** Time passes: the two-state chain's exact solution. */
  predict({ stays, relaxed }: Passing): void {
    const both = this.#seen + this.#hidden;
    const seen = this.#seen + relaxed * (SEEN_SHARE * both - this.#seen);
    this.#seen = stays * seen;
    this.#hidden = stays * (both - seen);
  }

  /** A detection: `ratio` is how much likelier it is with the target seen than without, detection probability included. */
  hit(ratio: number): void {
    this.#weigh(ratio);
  }

  /** No detection, though a target that is not hidden would have been detected with `detectionProbability`. */
  miss(detectionProbability: number): void {
    this.#weigh(1 - detectionProbability);
  }

  #weigh(ratio: number): void {
    const rest = 1 - this.#seen;
    const seen = this.#seen * ratio;
    this.#seen = seen / (seen + rest);
    this.#hidden /= seen + rest;
  }
}
