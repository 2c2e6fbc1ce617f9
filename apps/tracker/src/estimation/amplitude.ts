/**
 * Models the strength of detections: those of a target resemble its earlier ones, false alarms have a distribution of their
 * own. This distinguishes targets that meet in delay and Doppler, and targets from false alarms (D. Lerro and Y. Bar-Shalom,
 * "Interacting multiple model tracking with target amplitude feature", IEEE Trans. Aerosp. Electron. Syst. 29, 1993). Both
 * distributions are Laplacian in dB, which tolerates occasional fades; their widths are learned. Owned by `sensor-model.ts`.
 */

/** Initial values, dB. */
const FALSE_ALARM_MEAN_DB = 8;
const FALSE_ALARM_DEVIATION_DB = 4;
const TARGET_DEVIATION_DB = 4;
/** Lower bound of the widths, dB. */
const DEVIATION_DB_MIN = 1;
/** The weight of one sample. */
const STEP = 0.01;
/** Bound of the ratio: the strengths of consecutive frames are less independent than the model assumes. */
const RATIO_MAX = 30;

export class Amplitude {
  #falseAlarmDb = FALSE_ALARM_MEAN_DB;
  #falseAlarmDeviationDb = FALSE_ALARM_DEVIATION_DB;
  #targetDeviationDb = TARGET_DEVIATION_DB;

  /** The likelihood ratio of `snrDb` for a target of strength `meanDb` (undefined: not known yet) over a false alarm. */
  ratio(snrDb: number, meanDb: number | undefined): number {
    if (meanDb === undefined) return 1;
    const target = laplace(snrDb - meanDb, this.#targetDeviationDb);
    const ratio = target / laplace(snrDb - this.#falseAlarmDb, this.#falseAlarmDeviationDb);
    return Math.min(RATIO_MAX, Math.max(1 / RATIO_MAX, ratio));
  }

  learnFalseAlarm(snrDb: number): void {
    const residual = bounded(snrDb - this.#falseAlarmDb);
    this.#falseAlarmDb += STEP * residual;
    this.#falseAlarmDeviationDb = learned(this.#falseAlarmDeviationDb, residual);
  }

  /** Learns from a detection with `snrDb` of a target whose strength was `meanDb`. */
  learnTarget(snrDb: number, meanDb: number): void {
    this.#targetDeviationDb = learned(this.#targetDeviationDb, bounded(snrDb - meanDb));
  }
}

const RESIDUAL_DB_MAX = 30;

function bounded(residualDb: number): number {
  return Math.min(RESIDUAL_DB_MAX, Math.max(-RESIDUAL_DB_MAX, residualDb));
}

function learned(deviationDb: number, residualDb: number): number {
  return Math.max(DEVIATION_DB_MIN, deviationDb + STEP * (Math.abs(residualDb) - deviationDb));
}

/** Probability density of the Laplace distribution. */
function laplace(residualDb: number, deviationDb: number): number {
  return Math.exp(-Math.abs(bounded(residualDb)) / deviationDb) / (2 * deviationDb);
}
