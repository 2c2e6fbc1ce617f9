/**
 * Learns the radar's detection probability and false-alarm rate. Both are needed to weigh the hits and misses of a track, and
 * both differ from site to site; they are learned from the tracks and the detections they leave unused. Owned by `tracker.ts`.
 */
import { Amplitude } from "./amplitude.ts";
import { ClutterMap } from "./clutter-map.ts";

/** The weight of one sample, for a memory of about a hundred samples. */
const STEP = 0.01;
/** The weight of the initial values, in frames. */
const START_FRAMES = 5;
/** Initial values. */
const DETECTION_PROBABILITY_START = 0.85;
const FALSE_ALARMS_START = 5;
const DELAY_WIDTH_START_KM = 100;
const RANGE_RATE_WIDTH_START_KM_S = 0.6;
/** Bounds of learned values. */
const DETECTION_PROBABILITY_MIN = 0.4;
const DETECTION_PROBABILITY_MAX = 0.97;
const FALSE_ALARMS_MIN = 0.2;
/** A uniform distribution is four times as wide as its mean absolute deviation. */
const WIDTH_PER_DEVIATION = 4;
/** Bound of a sample's deviation as a multiple of the mean one, which limits the effect of outliers. */
const DEVIATION_RATIO_MAX = 4;
/** Expected number of new targets per second in the whole area. */
const BIRTHS_PER_S = 0.1;

/** Running mean and mean absolute deviation of samples. */
class RunningSpread {
  mean: number;
  deviation: number;

  constructor(mean: number, deviation: number) {
    this.mean = mean;
    this.deviation = deviation;
  }

  learn(value: number): void {
    const limit = DEVIATION_RATIO_MAX * this.deviation;
    const residual = Math.min(limit, Math.max(-limit, value - this.mean));
    this.mean += STEP * residual;
    this.deviation += STEP * (Math.abs(residual) - this.deviation);
  }
}

export class SensorModel {
  #detectionProbability = DETECTION_PROBABILITY_START;
  #falseAlarms = FALSE_ALARMS_START;
  #frames = 0;
  readonly #delay: RunningSpread;
  readonly #doppler: RunningSpread;
  readonly #areaMin: number;
  readonly #map = new ClutterMap();
  /** The strengths of targets and false alarms. */
  readonly amplitude = new Amplitude();

  /** `wavelengthKm` is the initial estimate of λ. */
  constructor(wavelengthKm: number) {
    const dopplerWidth = RANGE_RATE_WIDTH_START_KM_S / wavelengthKm;
    this.#delay = new RunningSpread(
      DELAY_WIDTH_START_KM / 2,
      DELAY_WIDTH_START_KM / WIDTH_PER_DEVIATION,
    );
    this.#doppler = new RunningSpread(0, dopplerWidth / WIDTH_PER_DEVIATION);
    this.#areaMin = (DELAY_WIDTH_START_KM * dopplerWidth) / 20;
  }

  /** The probability that a target that is not hidden is detected in a frame. */
  get detectionProbability(): number {
    return this.#detectionProbability;
  }

  /** Expected false alarms per frame and km·Hz at a position. */
  clutterDensity(delayKm: number, dopplerHz: number): number {
    return this.#map.density(delayKm, dopplerHz, this.#falseAlarms / this.#area);
  }

  /** The area the radar covers, km·Hz. */
  get #area(): number {
    const area = WIDTH_PER_DEVIATION ** 2 * this.#delay.deviation * this.#doppler.deviation;
    return Math.max(area, this.#areaMin);
  }

  /** Expected number of new targets in `seconds`, per km·Hz. */
  birthDensity(seconds: number): number {
    return (BIRTHS_PER_S * seconds) / this.#area;
  }

  /**
   * The odds that a detection without a track is the first one of a target, given the time `intervalS` since the previous frame
   * and the local `clutterDensity`.
   */
  birthOdds(intervalS: number, clutterDensity: number): number {
    return this.birthDensity(intervalS) / clutterDensity;
  }

  /** Learns whether a recently detected target was detected again. */
  learnDetection(detected: boolean): void {
    const moved =
      this.#detectionProbability + STEP * ((detected ? 1 : 0) - this.#detectionProbability);
    this.#detectionProbability = Math.min(
      DETECTION_PROBABILITY_MAX,
      Math.max(DETECTION_PROBABILITY_MIN, moved),
    );
  }

  /** Learns that a frame had `count` detections that no confirmed track used. */
  learnFalseAlarms(count: number): void {
    this.#map.nextFrame();
    const step = Math.max(STEP, 1 / (START_FRAMES + this.#frames++));
    const moved = this.#falseAlarms + step * (count - this.#falseAlarms);
    this.#falseAlarms = Math.max(FALSE_ALARMS_MIN, moved);
  }

  /** Learns the position of one of them; to be called after `learnFalseAlarms`. */
  learnFalseAlarmAt(delayKm: number, dopplerHz: number): void {
    this.#delay.learn(delayKm);
    this.#doppler.learn(dopplerHz);
    this.#map.learn(delayKm, dopplerHz);
  }
}
