/**
 * What the strength of a detection says: a track's detections are about as strong as those before, false alarms are as
 * strong as false alarms are. Two targets that meet in delay and Doppler are told apart by it, and a false alarm from a
 * target (D. Lerro and Y. Bar-Shalom, "Interacting multiple model tracking with target amplitude feature", IEEE Trans.
 * Aerosp. Electron. Syst. 29, 1993). Both are taken to be Laplace distributed in dB, which forgives the odd fade; their
 * widths are learned. Owned by `sensor-model.ts`.
 */

/** What is assumed at the start, dB. */
const FALSE_ALARM_MEAN_DB = 8;
const FALSE_ALARM_DEVIATION_DB = 4;
const TARGET_DEVIATION_DB = 4;
/** No distribution is taken to be narrower, dB. */
const DEVIATION_DB_MIN = 1;
/** The weight of a lesson. */
const STEP = 0.01;
/** What strength says is held to this factor: strengths are not as independent from frame to frame as the model has it. */
const RATIO_MAX = 30;

export class Amplitude {
  #falseAlarmDb = FALSE_ALARM_MEAN_DB;
  #falseAlarmDeviationDb = FALSE_ALARM_DEVIATION_DB;
  #targetDeviationDb = TARGET_DEVIATION_DB;

  /** How much likelier `snrDb` is from a target of `meanDb` (undefined: not known yet) than from a false alarm. */
  ratio(snrDb: number, meanDb: number | undefined): number {
    if (meanDb === undefined) return 1;
    const target = laplace(snrDb - meanDb, this.#targetDeviationDb);
    const ratio = target / laplace(snrDb - this.#falseAlarmDb, this.#falseAlarmDeviationDb);
    return Math.min(RATIO_MAX, Math.max(1 / RATIO_MAX, ratio));
  }

  learnFalseAlarm(snrDb: number): void {
    const off = bounded(snrDb - this.#falseAlarmDb);
    this.#falseAlarmDb += STEP * off;
    this.#falseAlarmDeviationDb = learned(this.#falseAlarmDeviationDb, off);
  }

  /** A target whose detections had `meanDb` so far was detected with `snrDb`. */
  learnTarget(snrDb: number, meanDb: number): void {
    this.#targetDeviationDb = learned(this.#targetDeviationDb, bounded(snrDb - meanDb));
  }
}

const OFF_DB_MAX = 30;

function bounded(offDb: number): number {
  return Math.min(OFF_DB_MAX, Math.max(-OFF_DB_MAX, offDb));
}

function learned(deviationDb: number, offDb: number): number {
  return Math.max(DEVIATION_DB_MIN, deviationDb + STEP * (Math.abs(offDb) - deviationDb));
}

function laplace(offDb: number, deviationDb: number): number {
  return Math.exp(-Math.abs(bounded(offDb)) / deviationDb) / (2 * deviationDb);
}
