/** Shared by the tests of this app: simulated aircraft seen by one radar, tracks of them, and a writer that collects events. */
import { type Random, seededRandom } from "@fleet/daemon";
import { DEFAULT_CONFIG } from "./config.ts";
import type { Detection } from "./tracks/detection-history.ts";
import { Existence } from "./tracks/existence.ts";
import type { Frame } from "./input/frame.ts";
import type { MotionModel } from "./estimation/kalman.ts";
import { ManoeuvreFilter, type ManoeuvreModel, manoeuvreModel } from "./estimation/manoeuvre.ts";
import { Track } from "./tracks/track.ts";
import type { EventWriter } from "./events/track-event.ts";

export const START_MS = 1_783_500_000_000;
export const INTERVAL_MS = 500;
/** λ of a 195 MHz illuminator, km. */
export const WAVELENGTH_KM = 299_792.458 / 195e6;

/** An aircraft with a constant Doppler rate in delay–Doppler space. */
export interface Flight {
  readonly delayKm: number;
  readonly dopplerHz: number;
  readonly dopplerRateHzS?: number;
  readonly hex?: string;
  readonly snrDb?: number;
}

/** Position of a flight `tS` seconds after the start. */
export function positionAt(flight: Flight, tS: number): { delayKm: number; dopplerHz: number } {
  const { delayKm, dopplerHz, dopplerRateHzS = 0 } = flight;
  return {
    delayKm: delayKm - WAVELENGTH_KM * (dopplerHz * tS + (dopplerRateHzS * tS * tS) / 2),
    dopplerHz: dopplerHz + dopplerRateHzS * tS,
  };
}

/** Normally distributed with standard deviation 1 (Box and Muller 1958). */
export function gaussian(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
  return radius * Math.cos(2 * Math.PI * random.next());
}

/** Frame number `index` with one detection per flight, with errors of 0.1 km and 1 Hz (standard deviations) if `random` is given. */
export function frameAt(index: number, flights: readonly Flight[], random?: Random): Frame {
  const tS = (index * INTERVAL_MS) / 1000;
  const noise = (sd: number): number => (random === undefined ? 0 : sd * gaussian(random));
  const at = flights.map((flight) => positionAt(flight, tS));
  return {
    timestampMs: START_MS + index * INTERVAL_MS,
    delaysKm: at.map(({ delayKm }) => delayKm + noise(0.1)),
    dopplersHz: at.map(({ dopplerHz }) => dopplerHz + noise(1)),
    snrsDb: flights.map(({ snrDb }) => snrDb ?? 12),
    adsb: flights.map(({ hex }) => (hex === undefined ? null : { hex })),
  };
}

/** A frame as a line of input. */
export function lineOf(frame: Frame): string {
  const { timestampMs, delaysKm, dopplersHz, snrsDb, adsb } = frame;
  return `${JSON.stringify({ timestamp: timestampMs, delay: delaysKm, doppler: dopplersHz, snr: snrsDb, adsb })}\n`;
}

const VARIANCE = { delay: 0.01, doppler: 1 };
const { steady, turning } = DEFAULT_CONFIG.rangeJerkDensity;

function motion(rangeJerkDensity: number): MotionModel {
  return {
    wavelengthKm: WAVELENGTH_KM,
    wavelengthSdKm: 0,
    dopplerRateDensity: rangeJerkDensity / WAVELENGTH_KM ** 2,
  };
}

/** The motion of targets between two frames. */
export const MODEL: ManoeuvreModel = manoeuvreModel(
  INTERVAL_MS / 1000,
  motion(steady),
  motion(turning),
);

/** A track that follows one flight from frame `firstFrame` on, with the measurement errors of `frameAt`. */
export class Follower {
  readonly track: Track;
  readonly #flight: Flight;
  readonly #random: Random;

  constructor(flight: Flight, firstFrame = 0, hex?: string) {
    this.#flight = flight;
    this.#random = seededRandom(firstFrame + 1);
    const first = this.#detectionAt(firstFrame, hex);
    const filter = new ManoeuvreFilter(first.delayKm, first.dopplerHz, VARIANCE, 10);
    this.track = new Track(filter, new Existence(1), first, 20);
  }

  /** Processes the next frame, number `index`, in which the flight was detected or not. */
  frame(index: number, isSeen: boolean): void {
    const { filter } = this.track;
    filter.predict(MODEL);
    if (!isSeen) return;
    const detection = this.#detectionAt(index);
    filter.update(detection.delayKm, detection.dopplerHz, VARIANCE, 1);
    this.track.record(detection);
  }

  #detectionAt(index: number, hex?: string): Detection {
    const { timestampMs, delaysKm, dopplersHz } = frameAt(index, [this.#flight], this.#random);
    const [delayKm = 0, dopplerHz = 0] = [delaysKm[0], dopplersHz[0]];
    const adsb = hex === undefined ? null : { hex };
    return { timestampMs, delayKm, dopplerHz, snrDb: 10, adsb };
  }
}

/** An event in its JSON form. */
export interface TrackEvent {
  readonly track_id: string;
  readonly adsb_hex: string | null;
  readonly adsb_initialized: boolean;
  readonly timestamp: number;
  readonly length: number;
  readonly detections: readonly {
    readonly timestamp: number;
    readonly delay: number;
    readonly doppler: number;
    readonly snr: number;
    readonly adsb: { readonly hex: string } | null;
  }[];
  readonly is_anomalous: boolean;
  readonly max_velocity_ms: number;
  readonly anomaly_types: readonly string[];
}

/** Collects the written events. */
export class CollectingWriter implements EventWriter {
  text = "";

  write(bytes: Uint8Array): void {
    this.text += new TextDecoder().decode(bytes);
  }

  writeText(text: string): void {
    this.text += text;
  }

  /** The events written since the last call. */
  take(): TrackEvent[] {
    const events = parseEvents(this.text);
    this.text = "";
    return events;
  }
}

export function parseEvents(text: string): TrackEvent[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as TrackEvent);
}
