/**
 * The latest detections of one track, stored as the JSON text of its events, so that writing an event costs one copy: events
 * are 14–30 times as large as the input. Owned by `track.ts`.
 */
import { ADSB_CHARS_MAX, type Adsb } from "../input/frame.ts";

/** The maximum number of detections in an event, defined by the interface. */
export const HISTORY_MAX = 20;

const EMPTY = Buffer.alloc(0);
const INITIAL_BYTES = 2048;
/** A UTF-16 code unit takes at most this many bytes in UTF-8. */
const UTF8_BYTES_PER_CHAR = 3;
const COMMA = 0x2c;

/** A detection of a track. */
export interface Detection {
  /** Unix ms. */
  readonly timestampMs: number;
  /** km. */
  readonly delayKm: number;
  /** Hz. */
  readonly dopplerHz: number;
  /** dB. */
  readonly snrDb: number;
  readonly adsb: Adsb | null;
}

export class DetectionHistory {
  readonly #countMax: number;
  /** Detections not encoded yet: most tracks are false alarms and never write an event. */
  readonly #unwritten: Detection[] = [];
  readonly #lengths: number[] = [];
  #bytes = EMPTY;
  #used = 0;

  /** Keeps the latest `countMax` detections, 1 to HISTORY_MAX. */
  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  append(detection: Detection): void {
    this.#unwritten.push(detection);
    if (this.#unwritten.length > this.#countMax) this.#unwritten.shift();
  }

  /** The latest detections since the last use of `json`, oldest first. */
  get recent(): readonly Detection[] {
    return this.#unwritten;
  }

  /** The detections as comma-separated JSON objects, oldest first. Valid until the next call. */
  get json(): Uint8Array {
    for (const detection of this.#unwritten) this.#write(detection);
    this.#unwritten.length = 0;
    return this.#bytes.subarray(0, this.#used);
  }

  #write(detection: Detection): void {
    if (this.#lengths.length === this.#countMax) this.#dropOldest();
    const text = encodeDetection(detection);
    this.#reserve(1 + text.length * UTF8_BYTES_PER_CHAR);
    if (this.#lengths.length > 0) this.#bytes[this.#used++] = COMMA;
    const written = this.#bytes.write(text, this.#used);
    this.#used += written;
    this.#lengths.push(written);
  }

  #dropOldest(): void {
    const length = this.#lengths.shift() ?? 0;
    const kept = Math.min(length + 1, this.#used);
    this.#bytes.copyWithin(0, kept, this.#used);
    this.#used -= kept;
  }

  #reserve(extra: number): void {
    if (this.#used + extra <= this.#bytes.length) return;
    const bytes = Math.max(INITIAL_BYTES, this.#bytes.length * 2, this.#used + extra);
    const grown = Buffer.allocUnsafe(bytes);
    grown.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = grown;
  }
}

/** The JSON of one detection. Numbers keep their exact value. */
function encodeDetection(detection: Detection): string {
  const { timestampMs, delayKm, dopplerHz, snrDb, adsb } = detection;
  let adsbText = "null";
  if (adsb !== null) {
    const text = JSON.stringify(adsb);
    if (text.length <= ADSB_CHARS_MAX) adsbText = text;
  }
  return `{"timestamp":${timestampMs},"delay":${delayKm},"doppler":${dopplerHz},"snr":${snrDb},"adsb":${adsbText}}`;
}
