/**
 * One track: its filter, its life, its identity, its latest detections.
 *
 *   tentative → confirmed (M detections within its first N frames) → coasting (missed) → confirmed (seen again)
 *   tentative → deleted (M of N out of reach)      coasting → deleted (too many frames missed in a row)
 *
 * Owned by `tracker.ts`, which alone moves it from state to state.
 */
import { Anomalies } from "./anomaly.ts";
import { type Detection, DetectionHistory } from "./detection-history.ts";
import { hexOf } from "./association.ts";
import type { DelayDopplerFilter } from "./kalman.ts";
import { WavelengthSpan } from "./wavelength.ts";

export type TrackState =
  | { readonly at: "tentative"; readonly hits: number; readonly frames: number }
  | { readonly at: "confirmed"; readonly id: string }
  | { readonly at: "coasting"; readonly id: string; readonly missed: number }
  | { readonly at: "deleted" };

/** When tracks are confirmed and deleted, in frames. (Blackman and Popoli 1999, §6.2) */
export interface LifeRules {
  /** M: detections that confirm… */
  readonly hitsMin: number;
  /** …within N frames, the first detection's included. */
  readonly window: number;
  /** A confirmed track is deleted at this many misses in a row. */
  readonly missedMax: number;
}

/** The state after a frame in which the track was detected. `newId` is called when this confirms it. */
export function afterHit(state: TrackState, rules: LifeRules, newId: () => string): TrackState {
  switch (state.at) {
    case "tentative": {
      const hits = state.hits + 1;
      if (hits >= rules.hitsMin) return { at: "confirmed", id: newId() };
      return { at: "tentative", hits, frames: state.frames + 1 };
    }
    case "confirmed":
    case "deleted":
      return state;
    case "coasting":
      return { at: "confirmed", id: state.id };
  }
}

/** The state after a frame in which the track was not detected. */
export function afterMiss(state: TrackState, rules: LifeRules): TrackState {
  switch (state.at) {
    case "tentative": {
      const frames = state.frames + 1;
      const outOfReach = state.hits + (rules.window - frames) < rules.hitsMin;
      return outOfReach ? { at: "deleted" } : { at: "tentative", hits: state.hits, frames };
    }
    case "confirmed":
      return rules.missedMax <= 1 ? { at: "deleted" } : { at: "coasting", id: state.id, missed: 1 };
    case "coasting": {
      const missed = state.missed + 1;
      return missed >= rules.missedMax ? { at: "deleted" } : { ...state, missed };
    }
    case "deleted":
      return state;
  }
}

/** So many detections in a row with one other address change a track's identity. */
const OTHER_HEX_MIN = 3;

export class Track {
  readonly filter: DelayDopplerFilter;
  readonly history: DetectionHistory;
  readonly anomalies = new Anomalies();
  readonly span = new WavelengthSpan();
  /** Whether the track's first detection came with an ADS-B match. */
  readonly adsbInitialized: boolean;
  state: TrackState = { at: "tentative", hits: 1, frames: 1 };
  #length = 0;
  #adsbHex: string | null = null;
  #otherHex: string | null = null;
  #otherHexCount = 0;

  constructor(filter: DelayDopplerFilter, first: Detection, historyMax: number) {
    this.filter = filter;
    this.history = new DetectionHistory(historyMax);
    this.adsbInitialized = hexOf(first.adsb) !== null;
    this.record(first);
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
    this.history.append(detection);
    if (detection.adsb !== null) this.#identify(detection.adsb);
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
