/**
 * Learns the precision of the radar as a function of SNR. Radars differ in bandwidth and integration time, and a filter with a
 * wrong measurement noise loses targets; so the config is only the starting point, which the residuals of confirmed tracks
 * correct (adaptive estimation from innovations: R. K. Mehra, "On the identification of variances and adaptive Kalman
 * filtering", IEEE Trans. Autom. Control 15, 1970). Medians are matched instead of mean squares, by stochastic approximation
 * (H. Robbins and S. Monro, Ann. Math. Statist. 22, 1951): an occasional wrong association must not widen the gate, which would
 * admit more of them. Owned by `tracker.ts`.
 */
import type { MeasurementVariance } from "./kalman.ts";

/** Initial standard deviations at an SNR of 10 dB. */
export interface NoiseConfig {
  readonly delayKm: number;
  readonly dopplerHz: number;
}

/** Bands of SNR that are learned separately, each BAND_DB wide; the first and the last are open-ended. */
const BANDS = 6;
const BAND_DB = 5;

/** Initial variances are proportional to 1/SNR (M. A. Richards, Fundamentals of Radar Signal Processing, 2014, §7.2), within bounds. */
const REFERENCE_SNR_DB = 10;
const START_SCALE_MIN = 0.1;
const START_SCALE_MAX = 2;

/** The median of χ² with one degree of freedom. */
const CHI_SQUARED_MEDIAN = 0.4549;
/** Initial variances are larger than configured by this factor, because overestimating the noise is safer. */
const START_FACTOR = 4;
/**
 * A residual changes a variance by half of this share. The share decreases from the first value to the second, with which the
 * learned standard deviation fluctuates by about 12 %.
 */
const STEP_START = 0.5;
const STEP_MIN = 0.04;
/** Bounds of a learned variance as factors of the configured one. */
const FACTOR_MIN = 1 / 16;
const FACTOR_MAX = 100;

interface Band {
  readonly start: Readonly<MeasurementVariance>;
  readonly learned: MeasurementVariance;
  samples: number;
}

export class MeasurementNoise {
  readonly #config: NoiseConfig;
  #bands: readonly Band[];

  constructor(config: NoiseConfig) {
    this.#config = config;
    this.#bands = createBands(config);
  }

  /** The variances of a detection; valid until the next call of `learn`. */
  variance(snrDb: number): Readonly<MeasurementVariance> {
    return this.#band(snrDb).learned;
  }

  /**
   * Learns from a detection of a confirmed track that differs from the prediction by `delayResidual` km and `dopplerResidual`
   * Hz. `predicted` are the variances of the prediction.
   */
  learn(
    snrDb: number,
    delayResidual: number,
    dopplerResidual: number,
    predicted: Readonly<MeasurementVariance>,
  ): void {
    const band = this.#band(snrDb);
    const { start, learned } = band;
    const step = Math.max(STEP_MIN, 1 / (band.samples++ / 4 + 1 / STEP_START));
    learned.delay = correct(learned.delay, step, delayResidual, predicted.delay, start.delay);
    learned.doppler = correct(
      learned.doppler,
      step,
      dopplerResidual,
      predicted.doppler,
      start.doppler,
    );
  }

  /** Returns to the initial values. */
  reset(): void {
    this.#bands = createBands(this.#config);
  }

  #band(snrDb: number): Band {
    const index = Math.floor(snrDb / BAND_DB);
    return this.#bands[Math.min(BANDS - 1, Math.max(0, index))] as Band;
  }
}

function createBands(config: NoiseConfig): Band[] {
  return Array.from({ length: BANDS }, (_, index) => {
    const middleDb = (index + 0.5) * BAND_DB;
    const scale = 10 ** ((REFERENCE_SNR_DB - middleDb) / 10);
    const bounded = Math.min(START_SCALE_MAX, Math.max(START_SCALE_MIN, scale));
    const start = {
      delay: config.delayKm ** 2 * bounded,
      doppler: config.dopplerHz ** 2 * bounded,
    };
    const learned = {
      delay: start.delay * START_FACTOR,
      doppler: start.doppler * START_FACTOR,
    };
    return { start, learned, samples: 0 };
  });
}

/** Increases the variance if the residual is beyond its expected median, and decreases it otherwise. */
function correct(
  variance: number,
  step: number,
  residual: number,
  predicted: number,
  start: number,
): number {
  const isWide = residual * residual > CHI_SQUARED_MEDIAN * (predicted + variance);
  const corrected = variance * (isWide ? 1 + step / 2 : 1 - step / 2);
  return Math.min(start * FACTOR_MAX, Math.max(start * FACTOR_MIN, corrected));
}
