/**
 * One track: its filter, life cycle, identity and latest detections.
 *
 *   tentative → confirmed (probably a target) → coasting (missed) → confirmed (detected again)
 *   tentative → deleted (improbable, or undecided for too long)     coasting → deleted (probably gone, or missed for too long)
 *
 * Owned by `tracker.ts`, which alone changes its state.
 */
import { Anomalies } from "./anomalies.ts";
import { type Detection, DetectionHistory } from "./detection-history.ts";
import { hexOf } from "../input/frame.ts";
import type { Existence } from "./existence.ts";
import type { ManoeuvreFilter } from "../estimation/manoeuvre.ts";
import { WavelengthSpan } from "../estimation/wavelength.ts";

export type TrackState =
  | {
      readonly at: "tentative";
      readonly hits: number;
      readonly frames: number;
      readonly birthProbability: number;
    }
  | { readonly at: "confirmed"; readonly id: string }
  | { readonly at: "coasting"; readonly id: string; readonly missed: number }
  | { readonly at: "deleted" };

/** When tracks are confirmed and deleted: by their existence probability, within bounds in frames. */
export interface LifeRules {
  /** A track is confirmed at this probability. */
  readonly confirmProbability: number;
  /** Detections required for a confirmation. */
  readonly hitsMin: number;
  /** A track not confirmed within this many frames, including the first, is deleted. */
  readonly window: number;
  /** A confirmed track is deleted below this probability. */
  readonly dropProbability: number;
  /** A confirmed track is deleted at this number of consecutive misses. */
  readonly missedMax: number;
}

/** A tentative track is deleted when its probability falls below this share of the initial one. */
const ABANDON_RATIO = 0.02;

/**
 * The state after a frame in which the track was detected. `probability` is the existence probability after the frame; `newId`
 * is called when the track is confirmed.
 */
export function afterHit(
  state: TrackState,
  probability: number,
  rules: LifeRules,
  newId: () => string,
): TrackState {
  switch (state.at) {
    case "tentative": {
      const hits = state.hits + 1;
      if (hits >= rules.hitsMin && probability >= rules.confirmProbability) {
        return { at: "confirmed", id: newId() };
      }
      return afterTentative({ ...state, hits }, probability, rules);
    }
    case "confirmed":
    case "deleted":
      return state;
    case "coasting":
      return { at: "confirmed", id: state.id };
  }
}

/** The state after a frame in which the track was not detected. `probability` is the existence probability after the frame. */
export function afterMiss(state: TrackState, probability: number, rules: LifeRules): TrackState {
  switch (state.at) {
    case "tentative":
      return afterTentative(state, probability, rules);
    case "confirmed":
    case "coasting": {
      const missed = state.at === "coasting" ? state.missed + 1 : 1;
      if (missed >= rules.missedMax || probability < rules.dropProbability) return DELETED;
      return { at: "coasting", id: state.id, missed };
    }
    case "deleted":
      return state;
  }
}

const DELETED: TrackState = { at: "deleted" };

function afterTentative(
  state: Extract<TrackState, { readonly at: "tentative" }>,
  probability: number,
  rules: LifeRules,
): TrackState {
  const frames = state.frames + 1;
  if (frames >= rules.window || probability < state.birthProbability * ABANDON_RATIO) {
    return DELETED;
  }
  return { ...state, frames };
}

/** Consecutive detections with the same other address that change a track's identity. */
const OTHER_HEX_MIN = 3;

/** A track's strength is known after this many detections, and later ones are averaged with this weight. */
const SNR_LENGTH_MIN = 3;
const SNR_STEP = 0.1;

/** For `frames` consecutive frames a track was missed while `other`, at the same position, was detected (`mergers.ts`). */
export interface Rivalry {
  readonly other: Track;
  readonly frames: number;
}

export class Track {
  filter: ManoeuvreFilter;
  existence: Existence;
  readonly history: DetectionHistory;
  // Allocated when needed: most tracks are false alarms and never need them.
  #anomalies: Anomalies | undefined;
  #span: WavelengthSpan | undefined;
  /** Whether the first detection had an ADS-B match. */
  readonly adsbInitialized: boolean;
  rivalry: Rivalry | undefined;
  state: TrackState;
  /** Times of the first and the last detection, Unix ms. */
  readonly firstMs: number;
  lastMs = 0;
  #snrDb = 0;
  #length = 0;
  #adsbHex: string | null = null;
  #otherHex: string | null = null;
  #otherHexCount = 0;

  constructor(filter: ManoeuvreFilter, existence: Existence, first: Detection, historyMax: number) {
    this.filter = filter;
    this.existence = existence;
    this.state = {
      at: "tentative",
      hits: 1,
      frames: 1,
      birthProbability: existence.probability,
    };
    this.history = new DetectionHistory(historyMax);
    this.firstMs = first.timestampMs;
    this.adsbInitialized = hexOf(first.adsb) !== null;
    this.record(first);
  }

  /** The probability that there is a detectable target. It is 1 for tentative tracks, which are evaluated as if there were one. */
  get presence(): number {
    return this.state.at === "tentative" ? 1 : this.existence.seenProbability;
  }

  get anomalies(): Anomalies {
    this.#anomalies ??= new Anomalies();
    return this.#anomalies;
  }

  /** The current span for learning λ. */
  get span(): WavelengthSpan {
    this.#span ??= new WavelengthSpan();
    return this.#span;
  }

  /** Running average of the detections' strength, dB; undefined before the third detection. */
  get snrDb(): number | undefined {
    return this.#length < SNR_LENGTH_MIN ? undefined : this.#snrDb;
  }

  /** Number of detections so far. */
  get length(): number {
    return this.#length;
  }

  /** The aircraft's address; null until a detection has one. */
  get adsbHex(): string | null {
    return this.#adsbHex;
  }

  /** Records a detection of the track. */
  record(detection: Detection): void {
    this.#length++;
    this.#snrDb += Math.max(SNR_STEP, 1 / this.#length) * (detection.snrDb - this.#snrDb);
    this.lastMs = detection.timestampMs;
    this.history.append(detection);
    if (detection.adsb !== null) this.#identify(detection.adsb);
  }

  /** Takes over the state estimate and existence probability of `other`. */
  adoptEstimate(other: Track): void {
    this.filter = other.filter;
    this.existence = other.existence;
  }

  /** Takes over the estimate and detections of `other`, a younger track that follows the same target. */
  absorb(other: Track): void {
    this.adoptEstimate(other);
    for (const detection of other.history.recent) this.record(detection);
  }

  #identify(adsb: NonNullable<Detection["adsb"]>): void {
    const hex = hexOf(adsb);
    this.anomalies.observeAdsb(
      adsb,
      hex !== null && this.#adsbHex !== null && hex !== this.#adsbHex,
    );
    if (hex === null) return;
    if (this.#adsbHex === null || hex === this.#adsbHex) {
      this.#adsbHex = hex;
      this.#otherHex = null;
      this.#otherHexCount = 0;
      return;
    }
    this.#otherHexCount = hex === this.#otherHex ? this.#otherHexCount + 1 : 1;
    this.#otherHex = hex;
    if (this.#otherHexCount >= OTHER_HEX_MIN) {
      this.#adsbHex = hex;
      this.#otherHex = null;
      this.#otherHexCount = 0;
    }
  }
}
