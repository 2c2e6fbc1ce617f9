/**
 * The probability that a track follows an existing target, as opposed to false alarms or a target that has left. It is a Markov
 * chain with two kinds of existence (D. Mušicki, R. Evans and S. Stanković, "Integrated probabilistic data association", IEEE
 * Trans. Autom. Control 39, 1994): a target that fades is hidden for a while and has not left. Its odds are the likelihood
 * ratio of sequential track confirmation (R. W. Sittler, IEEE Trans. Mil. Electron. 8, 1964; Blackman and Popoli 1999, §6.2),
 * with forgetting. Owned by `track.ts`; pure arithmetic.
 */

/** Mean durations, s: until a target fades, of a fade, and until a target leaves. */
const SEEN_S = 60;
const HIDDEN_S = 5;
const STAY_S = 120;

/** The transition of the Markov chain between two frames; the same for all tracks. */
export interface ExistenceTransition {
  /** The probability that a target does not leave. */
  readonly survival: number;
  /** How far seen and hidden approach their equilibrium, 0 to 1. */
  readonly relaxation: number;
}

/** The transition over `dtS` seconds (≥ 0). */
export function existenceTransition(dtS: number): ExistenceTransition {
  return {
    survival: Math.exp(-dtS / STAY_S),
    relaxation: 1 - Math.exp(-dtS * (1 / SEEN_S + 1 / HIDDEN_S)),
  };
}

/** The share of targets that are not hidden, in equilibrium. */
const SEEN_SHARE = SEEN_S / (SEEN_S + HIDDEN_S);

export class Existence {
  #seen: number;
  #hidden = 0;

  /** `odds` of a target against a false alarm, given only the first detection. */
  constructor(odds: number) {
    this.#seen = odds / (1 + odds);
  }

  /** The probability that the target exists. */
  get probability(): number {
    return this.#seen + this.#hidden;
  }

  /** The probability that it exists and is not hidden. */
  get seenProbability(): number {
    return this.#seen;
  }

  /** Predicts to the next frame, with the exact solution of the two-state chain. */
  predict({ survival, relaxation }: ExistenceTransition): void {
    const both = this.#seen + this.#hidden;
    const seen = this.#seen + relaxation * (SEEN_SHARE * both - this.#seen);
    this.#seen = survival * seen;
    this.#hidden = survival * (both - seen);
  }

  /** Updates with a detection. `ratio` is its likelihood ratio for a seen target, including the detection probability. */
  hit(ratio: number): void {
    this.#weigh(ratio);
  }

  /** Updates with a missed detection. A target that is not hidden would have been detected with `detectionProbability`. */
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
