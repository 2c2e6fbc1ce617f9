/**
 * Filters a target that alternates between steady flight and turns, with two interacting Kalman filters of the same state: one
 * with little process noise and one with much (H. A. P. Blom and Y. Bar-Shalom, "The interacting multiple model algorithm for
 * systems with Markovian switching coefficients", IEEE Trans. Autom. Control 33, 1988). Steady targets are predicted precisely,
 * so that crossing targets and false alarms can be distinguished; a turn is followed from its first detections on. Called by
 * `track.ts`.
 */
import {
  DelayDopplerFilter,
  type Innovation,
  type MeasurementVariance,
  type MotionModel,
} from "./kalman.ts";

/** The parameters of both filters for the motion between two frames; the same for all tracks. */
export interface ManoeuvreModel {
  readonly dtS: number;
  readonly steady: MotionModel;
  readonly turning: MotionModel;
  /** Probabilities that a steady target starts a turn, and that a turning one ends it. */
  readonly turnStartProbability: number;
  readonly turnEndProbability: number;
}

/** Mean durations of steady flight, and of the transitions between steady flight and a steady turn, s. */
const STEADY_S = 15;
const TURNING_S = 3;
/** A rectangle in delay and Doppler. */
export interface Bounds {
  delayMinKm: number;
  delayMaxKm: number;
  dopplerMinHz: number;
  dopplerMaxHz: number;
}

/** The model of `dtS` seconds (≥ 0). */
export function manoeuvreModel(
  dtS: number,
  steady: MotionModel,
  turning: MotionModel,
): ManoeuvreModel {
  const turnStartProbability = 1 - Math.exp(-dtS / STEADY_S);
  const turnEndProbability = 1 - Math.exp(-dtS / TURNING_S);
  return { dtS, steady, turning, turnStartProbability, turnEndProbability };
}

/** Probability that a new target is turning. */
const TURNING_AT_BIRTH = TURNING_S / (STEADY_S + TURNING_S);
/** Lower bound of the probability of each mode. */
const PROBABILITY_MIN = 1e-4;
/** From this belief on, a detection is treated as certain, which saves the mixture. */
const BELIEF_SURE = 0.998;

// Scratch space shared by all filters, because most of them belong to false alarms and live for a frame or two.
const scratch = new DelayDopplerFilter(0, 0, { delay: 0, doppler: 0 }, 0);
const ofSteady: Innovation = { distanceSquared: 0, likelihood: 0 };
const ofTurning: Innovation = { distanceSquared: 0, likelihood: 0 };

export class ManoeuvreFilter {
  readonly #steady: DelayDopplerFilter;
  readonly #turning: DelayDopplerFilter;
  #turningProbability = TURNING_AT_BIRTH;
  /** The combined estimate of both modes; allocated when first needed. */
  #estimate: DelayDopplerFilter | undefined;
  #isEstimateStale = true;

  /** Starts from one detection. The Doppler rate is unknown, with a mean of 0 and the variance `dopplerRateVariance`, (Hz/s)². */
  constructor(
    delayKm: number,
    dopplerHz: number,
    variance: MeasurementVariance,
    dopplerRateVariance: number,
  ) {
    this.#steady = new DelayDopplerFilter(delayKm, dopplerHz, variance, dopplerRateVariance);
    this.#turning = new DelayDopplerFilter(delayKm, dopplerHz, variance, dopplerRateVariance);
  }

  /** The combined mean and covariance of both modes; valid until the next `predict` or `update`. */
  get estimate(): DelayDopplerFilter {
    this.#estimate ??= new DelayDopplerFilter(0, 0, { delay: 0, doppler: 0 }, 0);
    if (this.#isEstimateStale) {
      this.#estimate.setMixture(this.#turning, this.#steady, this.#turningProbability);
      this.#isEstimateStale = false;
    }
    return this.#estimate;
  }

  get turningProbability(): number {
    return this.#turningProbability;
  }

  /** Predicts the estimate to the next frame. */
  predict(model: ManoeuvreModel): void {
    const { dtS, turnStartProbability, turnEndProbability } = model;
    if (dtS === 0) return;
    const turning = this.#turningProbability;
    const next = turning * (1 - turnEndProbability) + (1 - turning) * turnStartProbability;
    // Probabilities that a target steady (turning) in the next frame is steady now.
    const steadyBefore = ((1 - turning) * (1 - turnStartProbability)) / (1 - next);
    const beganNow = ((1 - turning) * turnStartProbability) / next;
    scratch.setMixture(this.#steady, this.#turning, steadyBefore);
    this.#turning.setMixture(this.#steady, this.#turning, beganNow);
    this.#steady.copy(scratch);
    this.#steady.predict(dtS, model.steady);
    this.#turning.predict(dtS, model.turning);
    this.#turningProbability = next;
    this.#isEstimateStale = true;
  }

  /** Computes the smaller distance of both modes, and the likelihood of a detection under their mixture, into `out`. */
  innovation(
    delayKm: number,
    dopplerHz: number,
    variance: MeasurementVariance,
    out: Innovation,
  ): void {
    this.#steady.innovation(delayKm, dopplerHz, variance, ofSteady);
    this.#turning.innovation(delayKm, dopplerHz, variance, ofTurning);
    this.#weighInto(out);
  }

  /** Like `innovation`, for the estimate of another track at the same time. */
  separation(other: ManoeuvreFilter, out: Innovation): void {
    this.#steady.separation(other.estimate, ofSteady);
    this.#turning.separation(other.estimate, ofTurning);
    this.#weighInto(out);
  }

  #weighInto(out: Innovation): void {
    const share = this.#turningProbability;
    out.distanceSquared = Math.min(ofSteady.distanceSquared, ofTurning.distanceSquared);
    out.likelihood = (1 - share) * ofSteady.likelihood + share * ofTurning.likelihood;
  }

  /** Computes a rectangle into `out` that contains every detection of at most this `variance` within the gate of either mode. */
  bounds(gate: number, variance: Readonly<MeasurementVariance>, out: Bounds): void {
    const steady = this.#steady;
    const turning = this.#turning;
    const steadyKm = Math.sqrt(gate * (steady.delayVariance + variance.delay));
    const turningKm = Math.sqrt(gate * (turning.delayVariance + variance.delay));
    const steadyHz = Math.sqrt(gate * (steady.dopplerVariance + variance.doppler));
    const turningHz = Math.sqrt(gate * (turning.dopplerVariance + variance.doppler));
    out.delayMinKm = Math.min(steady.delayKm - steadyKm, turning.delayKm - turningKm);
    out.delayMaxKm = Math.max(steady.delayKm + steadyKm, turning.delayKm + turningKm);
    out.dopplerMinHz = Math.min(steady.dopplerHz - steadyHz, turning.dopplerHz - turningHz);
    out.dopplerMaxHz = Math.max(steady.dopplerHz + steadyHz, turning.dopplerHz + turningHz);
  }

  /**
   * Updates the estimate with a detection that belongs to the target with probability `belief`: the result is the mixture of
   * using and ignoring it (probabilistic data association: Y. Bar-Shalom and E. Tse, Automatica 11, 1975), so that a single
   * false alarm does not divert the track.
   */
  update(delayKm: number, dopplerHz: number, variance: MeasurementVariance, belief: number): void {
    this.#steady.innovation(delayKm, dopplerHz, variance, ofSteady);
    this.#turning.innovation(delayKm, dopplerHz, variance, ofTurning);
    const share = this.#turningProbability;
    const turning = share * ofTurning.likelihood;
    const both = turning + (1 - share) * ofSteady.likelihood;
    // Both likelihoods are 0 for a detection extremely far away; then the mode probabilities stay.
    if (both > 0) {
      const probability = share + belief * (turning / both - share);
      this.#turningProbability = Math.min(
        1 - PROBABILITY_MIN,
        Math.max(PROBABILITY_MIN, probability),
      );
    }
    updateMode(this.#steady, delayKm, dopplerHz, variance, belief);
    updateMode(this.#turning, delayKm, dopplerHz, variance, belief);
    this.#isEstimateStale = true;
  }
}

function updateMode(
  mode: DelayDopplerFilter,
  delayKm: number,
  dopplerHz: number,
  variance: MeasurementVariance,
  belief: number,
): void {
  if (belief >= BELIEF_SURE) {
    mode.update(delayKm, dopplerHz, variance);
    return;
  }
  scratch.copy(mode);
  mode.update(delayKm, dopplerHz, variance);
  mode.setMixture(mode, scratch, belief);
}
