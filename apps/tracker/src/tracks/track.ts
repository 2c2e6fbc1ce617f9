/**
 * One track: its filter, its life, its identity, its latest detections.
 *
 *   tentative → confirmed (surely a target) → coasting (missed) → confirmed (seen again)
 *   tentative → deleted (hopeless, or undecided for too long)      coasting → deleted (surely gone, or missed for too long)
 *
 * Owned by `tracker.ts`, which alone moves it from state to state.
 */
import { Anomalies } from "./anomaly.ts";
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

/** When tracks are confirmed and deleted: by the probability that they have a target, within bounds in frames. */
export interface LifeRules {
  /** A track is confirmed at this probability… */
  readonly confirmProbability: number;
  /** …but not before so many detections,… */
  readonly hitsMin: number;
  /** …and deleted if that takes more frames than this, the first detection's included. */
  readonly window: number;
  /** A confirmed track is deleted below this probability… */
  readonly dropProbability: number;
  /** …or at this many misses in a row. */
  readonly missedMax: number;
}

/** A tentative track is deleted when its probability has fallen to this share of what it began with. */
const HOPELESS_SHARE = 0.02;

/**
 * The state after a frame in which the track was detected, which made its probability `probability`. `newId` is called
 * when this confirms it.
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

/** The state after a frame in which the track was not detected, which made its probability `probability`. */
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
  if (frames >= rules.window || probability < state.birthProbability * HOPELESS_SHARE) {
    return DELETED;
  }
  return { ...state, frames };
}

/** So many detections in a row with one other address change a track's identity. */
const OTHER_HEX_MIN = 3;

/** A track's strength is known after so many detections, and follows later ones with this weight. */
const SNR_LENGTH_MIN = 3;
const SNR_STEP = 0.1;

/** A track's suspicion: in `frames` frames it was missed while `other`, in the same place, was detected (`rivals.ts`). */
export interface Rivalry {
  readonly other: Track;
  readonly frames: number;
}

export class Track {
  filter: ManoeuvreFilter;
  existence: Existence;
  readonly history: DetectionHistory;
  // Most tracks are false alarms and never need these.
  #anomalies: Anomalies | undefined;
  #span: WavelengthSpan | undefined;
  /** Whether the track's first detection came with an ADS-B match. */
  readonly adsbInitialized: boolean;
  rivalry: Rivalry | undefined;
  state: TrackState;
  /** When the track was detected first and last, ms Unix. */
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

  /** The probability that it has a target to be detected. A tentative track is judged as if it had one. */
  get presence(): number {
    return this.state.at === "tentative" ? 1 : this.existence.seenProbability;
  }

  get anomalies(): Anomalies {
    this.#anomalies ??= new Anomalies();
    return this.#anomalies;
  }

  /** The path since the last lesson about λ. */
  get span(): WavelengthSpan {
    this.#span ??= new WavelengthSpan();
    return this.#span;
  }

  /** How strong the track's detections were, the latest counting most, dB; undefined before the third. */
  get snrDb(): number | undefined {
    return this.#length < SNR_LENGTH_MIN ? undefined : this.#snrDb;
  }

  /** How many detections the track has had. */
  get length(): number {
    return this.#length;
  }

  /** The aircraft's address, once a detection brought one. */
  get adsbHex(): string | null {
    return this.#adsbHex;
  }

  /** Remembers a detection that continues the track. */
  record(detection: Detection): void {
    this.#length++;
    this.#snrDb += Math.max(SNR_STEP, 1 / this.#length) * (detection.snrDb - this.#snrDb);
    this.lastMs = detection.timestampMs;
    this.history.append(detection);
    if (detection.adsb !== null) this.#identify(detection.adsb);
  }

  /** Takes over where `other` is and how surely. */
  follow(other: Track): void {
    this.filter = other.filter;
    this.existence = other.existence;
  }

  /** Goes on as `other`, a younger track that turned out to follow the same target: takes its estimate and detections over. */
  absorb(other: Track): void {
    this.follow(other);
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
