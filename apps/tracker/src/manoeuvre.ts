/**
 * One target that now flies steadily and now turns: two Kalman filters of the same state, one with little process noise
 * and one with much, interacting (H. A. P. Blom and Y. Bar-Shalom, "The interacting multiple model algorithm for systems
 * with Markovian switching coefficients", IEEE Trans. Autom. Control 33, 1988). Steady targets are predicted closely, so
 * that crossing ones and false alarms are kept apart; a turn is followed from its first odd detections on. Called by
 * `track.ts`.
 */
import {
  DelayDopplerFilter,
  type Innovation,
  type MeasurementVariance,
  type MotionModel,
} from "./kalman.ts";

/** What both filters have to know about the motion between two frames; the same for all tracks. */
export interface ManoeuvreModel {
  readonly dtS: number;
  readonly steady: MotionModel;
  readonly turning: MotionModel;
  /** Probabilities that a steady target begins to turn, and a turning one ends it. */
  readonly begins: number;
  readonly ends: number;
}

/** Mean durations of steady flight and of the changes between steady flight and a steady turn, s. */
const STEADY_S = 15;
const TURNING_S = 3;
/** The model of `dtS` seconds (≥ 0). */
export function manoeuvreModel(
  dtS: number,
  steady: MotionModel,
  turning: MotionModel,
): ManoeuvreModel {
  const begins = 1 - Math.exp(-dtS / STEADY_S);
  const ends = 1 - Math.exp(-dtS / TURNING_S);
  return { dtS, steady, turning, begins, ends };
}

/** Probability that a new target is turning. */
const TURNING_AT_BIRTH = TURNING_S / (STEADY_S + TURNING_S);
/** Neither mode is ever ruled out. */
const PROBABILITY_MIN = 1e-4;
/** From this belief on, the doubt is not worth its arithmetic. */
const BELIEF_SURE = 0.998;

export class ManoeuvreFilter {
  readonly #steady: DelayDopplerFilter;
  readonly #turning: DelayDopplerFilter;
  /** The mixtures the modes start from, and the estimate of both: kept to save allocations. */
  readonly #mixed: DelayDopplerFilter;
  readonly #estimate: DelayDopplerFilter;
  readonly #ofSteady: Innovation = { distanceSquared: 0, likelihood: 0 };
  readonly #ofTurning: Innovation = { distanceSquared: 0, likelihood: 0 };
  #turningProbability = TURNING_AT_BIRTH;

  /** Starts from one detection; nothing is known of the Doppler rate but its spread `dopplerRateVariance`, (Hz/s)². */
  constructor(
    delayKm: number,
    dopplerHz: number,
    variance: MeasurementVariance,
    dopplerRateVariance: number,
  ) {
    const create = (): DelayDopplerFilter =>
      new DelayDopplerFilter(delayKm, dopplerHz, variance, dopplerRateVariance);
    this.#steady = create();
    this.#turning = create();
    this.#mixed = create();
    this.#estimate = create();
  }

  /** The mean and covariance of both modes together. */
  get estimate(): DelayDopplerFilter {
    return this.#estimate;
  }

  get turningProbability(): number {
    return this.#turningProbability;
  }

  /** Moves the estimate on. */
  predict(model: ManoeuvreModel): void {
    const { dtS, begins, ends } = model;
    if (dtS === 0) return;
    const turning = this.#turningProbability;
    const next = turning * (1 - ends) + (1 - turning) * begins;
    // Of those steady (turning) next, the share that was steady before.
    const steadyBefore = ((1 - turning) * (1 - begins)) / (1 - next);
    const beganNow = ((1 - turning) * begins) / next;
    this.#mixed.setMixture(this.#steady, this.#turning, beganNow);
    this.#steady.setMixture(this.#steady, this.#turning, steadyBefore);
    this.#turning.setMixture(this.#mixed, this.#mixed, 1);
    this.#steady.predict(dtS, model.steady);
    this.#turning.predict(dtS, model.turning);
    this.#turningProbability = next;
    this.#combine();
  }

  /** Fills `out` with the lesser distance of both modes, and the likelihood of a detection under both together. */
  innovation(
    delayKm: number,
    dopplerHz: number,
    variance: MeasurementVariance,
    out: Innovation,
  ): void {
    this.#steady.innovation(delayKm, dopplerHz, variance, this.#ofSteady);
    this.#turning.innovation(delayKm, dopplerHz, variance, this.#ofTurning);
    this.#weighInto(out);
  }

  /** The same for the estimate of another track at the same time. */
  separation(other: ManoeuvreFilter, out: Innovation): void {
    this.#steady.separation(other.estimate, this.#ofSteady);
    this.#turning.separation(other.estimate, this.#ofTurning);
    this.#weighInto(out);
  }

  #weighInto(out: Innovation): void {
    const steady = this.#ofSteady;
    const turning = this.#ofTurning;
    const share = this.#turningProbability;
    out.distanceSquared = Math.min(steady.distanceSquared, turning.distanceSquared);
    out.likelihood = (1 - share) * steady.likelihood + share * turning.likelihood;
  }

  /** How far a detection may be off in delay and still lie in the gate; km. */
  delayReach(gate: number, variance: number): number {
    return this.#reach(gate, variance, "delayKm", "delayVariance");
  }

  /** The same in Doppler; Hz. */
  dopplerReach(gate: number, variance: number): number {
    return this.#reach(gate, variance, "dopplerHz", "dopplerVariance");
  }

  /** The half width of an interval about the estimate that holds both modes' gates. */
  #reach(
    gate: number,
    variance: number,
    of: "delayKm" | "dopplerHz",
    spread: "delayVariance" | "dopplerVariance",
  ): number {
    const middle = this.#estimate[of];
    const ofMode = (mode: DelayDopplerFilter): number =>
      Math.abs(mode[of] - middle) + Math.sqrt(gate * (mode[spread] + variance));
    return Math.max(ofMode(this.#steady), ofMode(this.#turning));
  }

  /**
   * Takes a detection in that is the target's with probability `belief`: the estimate becomes the mixture of having used
   * it and not (probabilistic data association: Y. Bar-Shalom and E. Tse, Automatica 11, 1975), so that one false alarm
   * does not lead the track away for good.
   */
  update(delayKm: number, dopplerHz: number, variance: MeasurementVariance, belief: number): void {
    const steady = this.#ofSteady;
    const turning = this.#ofTurning;
    this.#steady.innovation(delayKm, dopplerHz, variance, steady);
    this.#turning.innovation(delayKm, dopplerHz, variance, turning);
    const share = this.#turningProbability;
    const ofTurning = share * turning.likelihood;
    const both = ofTurning + (1 - share) * steady.likelihood;
    // Both likelihoods are 0 when a detection is absurdly far away; then nothing is learned about the mode.
    if (both > 0) {
      const probability = share + belief * (ofTurning / both - share);
      this.#turningProbability = Math.min(
        1 - PROBABILITY_MIN,
        Math.max(PROBABILITY_MIN, probability),
      );
    }
    for (const mode of [this.#steady, this.#turning]) {
      const isSure = belief >= BELIEF_SURE;
      if (!isSure) this.#mixed.setMixture(mode, mode, 1);
      mode.update(delayKm, dopplerHz, variance);
      if (!isSure) mode.setMixture(mode, this.#mixed, belief);
    }
    this.#combine();
  }

  #combine(): void {
    this.#estimate.setMixture(this.#turning, this.#steady, this.#turningProbability);
  }
}
