/**
 * How often the radar detects what is there, and how often what is not: both are needed to weigh a track's hits and
 * misses, both differ from site to site, and both are learned from what the tracks left over. Owned by `tracker.ts`.
 */
import { Amplitude } from "./amplitude.ts";
import { ClutterMap } from "./clutter-map.ts";

/** The weight of a lesson: learning looks back over about a hundred of them… */
const STEP = 0.01;
/** …but what is assumed at the start counts for so many frames only. */
const START_FRAMES = 5;
/** What is assumed before anything is learned. */
const DETECTION_PROBABILITY_START = 0.85;
const FALSE_ALARMS_START = 5;
const DELAY_WIDTH_START_KM = 100;
const RANGE_RATE_WIDTH_START_KM_S = 0.6;
/** Learned values stay within these. */
const DETECTION_PROBABILITY_MIN = 0.4;
const DETECTION_PROBABILITY_MAX = 0.97;
const FALSE_ALARMS_MIN = 0.2;
/** A uniform distribution is four times as wide as its mean absolute deviation. */
const WIDTH_PER_DEVIATION = 4;
/** A deviation counts at most this many times the mean one: absurd numbers teach little. */
const DEVIATION_RATIO_MAX = 4;
/** New targets a second that are expected, in all. */
const BIRTHS_PER_S = 0.1;

/** Mean and mean absolute deviation of what it is told. */
class Spread {
  mean: number;
  deviation: number;

  constructor(mean: number, deviation: number) {
    this.mean = mean;
    this.deviation = deviation;
  }

  learn(value: number): void {
    const limit = DEVIATION_RATIO_MAX * this.deviation;
    const off = Math.min(limit, Math.max(-limit, value - this.mean));
    this.mean += STEP * off;
    this.deviation += STEP * (Math.abs(off) - this.deviation);
  }
}

export class SensorModel {
  #detectionProbability = DETECTION_PROBABILITY_START;
  #falseAlarms = FALSE_ALARMS_START;
  #frames = 0;
  readonly #delay: Spread;
  readonly #doppler: Spread;
  readonly #areaMin: number;
  readonly #map = new ClutterMap();
  /** How strong targets and false alarms are. */
  readonly amplitude = new Amplitude();

  /** `wavelengthKm` is what is known of λ at the start. */
  constructor(wavelengthKm: number) {
    const dopplerWidth = RANGE_RATE_WIDTH_START_KM_S / wavelengthKm;
    this.#delay = new Spread(DELAY_WIDTH_START_KM / 2, DELAY_WIDTH_START_KM / WIDTH_PER_DEVIATION);
    this.#doppler = new Spread(0, dopplerWidth / WIDTH_PER_DEVIATION);
    this.#areaMin = (DELAY_WIDTH_START_KM * dopplerWidth) / 20;
  }

  /** That a target which is not hidden is detected in a frame. */
  get detectionProbability(): number {
    return this.#detectionProbability;
  }

  /** Expected false alarms in a frame per km·Hz around a place. */
  clutterDensity(delayKm: number, dopplerHz: number): number {
    return this.#map.density(delayKm, dopplerHz, this.#falseAlarms / this.#area);
  }

  /** What the radar covers, km·Hz. */
  get #area(): number {
    const area = WIDTH_PER_DEVIATION ** 2 * this.#delay.deviation * this.#doppler.deviation;
    return Math.max(area, this.#areaMin);
  }

  /** New targets that are expected in `seconds`, per km·Hz. */
  birthDensity(seconds: number): number {
    return (BIRTHS_PER_S * seconds) / this.#area;
  }

  /**
   * The odds that a detection which continues no track is a target's first, `intervalS` after the last frame, where
   * there are `clutterDensity` false alarms.
   */
  birthOdds(intervalS: number, clutterDensity: number): number {
    return this.birthDensity(intervalS) / clutterDensity;
  }

  /** A target that was detected lately has been `detected` again, or not. */
  learnDetection(detected: boolean): void {
    const moved =
      this.#detectionProbability + STEP * ((detected ? 1 : 0) - this.#detectionProbability);
    this.#detectionProbability = Math.min(
      DETECTION_PROBABILITY_MAX,
      Math.max(DETECTION_PROBABILITY_MIN, moved),
    );
  }

  /** A frame has left `count` detections to no confirmed track. */
  learnFalseAlarms(count: number): void {
    this.#map.nextFrame();
    const step = Math.max(STEP, 1 / (START_FRAMES + this.#frames++));
    const moved = this.#falseAlarms + step * (count - this.#falseAlarms);
    this.#falseAlarms = Math.max(FALSE_ALARMS_MIN, moved);
  }

  /** One of them lies here; told after `learnFalseAlarms`. */
  learnPlace(delayKm: number, dopplerHz: number): void {
    this.#delay.learn(delayKm);
    this.#doppler.learn(dopplerHz);
    this.#map.learn(delayKm, dopplerHz);
  }
}
