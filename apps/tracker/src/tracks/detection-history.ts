/**
 * The latest detections of one track, kept as the very JSON text its events carry, so that an event costs one copy
 * however long its history is: events are 14–30 times the input in bytes. Owned by `track.ts`.
 */
import { ADSB_CHARS_MAX, type Adsb } from "../input/frame.ts";

/** The most detections an event carries (the interface's own bound). */
export const HISTORY_MAX = 20;

const EMPTY = Buffer.alloc(0);
const INITIAL_BYTES = 2048;
/** A UTF-16 unit takes at most this many bytes of UTF-8. */
const UTF8_BYTES_PER_CHAR = 3;
const COMMA = 0x2c;

/** One detection as a track remembers it. */
export interface Detection {
  /** ms Unix. */
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
  /** Not yet turned into text: most tracks are clutter and never write an event. */
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

  /** The latest detections whose JSON was not asked for yet, oldest first. */
  get recent(): readonly Detection[] {
    return this.#unwritten;
  }

  /** The detections, oldest first, as comma-separated JSON objects. Valid until the next call. */
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

/** The JSON of one detection. Numbers keep the value they were read with. */
function encodeDetection(detection: Detection): string {
  const { timestampMs, delayKm, dopplerHz, snrDb, adsb } = detection;
  let adsbText = "null";
  if (adsb !== null) {
    const text = JSON.stringify(adsb);
    if (text.length <= ADSB_CHARS_MAX) adsbText = text;
  }
  return `{"timestamp":${timestampMs},"delay":${delayKm},"doppler":${dopplerHz},"snr":${snrDb},"adsb":${adsbText}}`;
}
