/**
 * Parses one line of input: a detection frame, a RESET, or an invalid line, which is skipped with a reason. Never throws. The
 * rules are more lenient than the coordinator's check, because a tracker may have other sources. Called by `session.ts` for
 * each line. (T10)
 */

/** A line with more detections than this is skipped. */
export const DETECTIONS_MAX = 4096;
/** An `adsb` object whose JSON is longer than this is replaced by null. */
export const ADSB_CHARS_MAX = 4096;
/** The range of times that have a date (ECMA-262, 21.4.1.1), Unix ms. */
const TIMESTAMP_MS_MAX = 8.64e15;

/** The ADS-B match of a detection; passed through to the events unaltered. */
export type Adsb = Readonly<Record<string, unknown>>;

/** The aircraft address (`hex`) of an ADS-B match. */
export function hexOf(adsb: Adsb | null): string | null {
  const hex = adsb?.["hex"];
  return typeof hex === "string" && hex !== "" ? hex : null;
}

/** The detections of one coherent processing interval. All arrays have the same length. */
export interface Frame {
  /** Unix ms. */
  readonly timestampMs: number;
  /** Bistatic delay, km. */
  readonly delaysKm: readonly number[];
  /** Hz, positive for closing targets. */
  readonly dopplersHz: readonly number[];
  readonly snrsDb: readonly number[];
  readonly adsb: readonly (Adsb | null)[];
}

/** Why a line was skipped. */
export const SKIP_REASONS = [
  "bad_utf8",
  "bad_json",
  "not_an_object",
  "not_a_frame",
  "bad_timestamp",
  "bad_array",
  "bad_number",
  "bad_adsb",
  "too_many_detections",
] as const;
export type SkipReason = (typeof SKIP_REASONS)[number];

export type Line =
  | { readonly is: "frame"; readonly frame: Frame }
  | { readonly is: "reset" }
  | { readonly is: "blank" }
  | { readonly is: "skipped"; readonly reason: SkipReason };

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const EMPTY: readonly never[] = [];

/** Parses `bytes[start, end)`, one line without its LF. */
export function parseLine(bytes: Uint8Array, start: number, end: number): Line {
  let text: string;
  try {
    text = decoder.decode(bytes.subarray(start, end));
  } catch {
    return skipped("bad_utf8");
  }
  if (text.trim() === "") return { is: "blank" };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return skipped("bad_json");
  }
  if (!isObject(value)) return skipped("not_an_object");
  return parseObject(value);
}

function parseObject(value: Readonly<Record<string, unknown>>): Line {
  if (value["type"] === "RESET") return { is: "reset" };
  // Frames have no type. Heartbeats do, and may have a timestamp too.
  if (value["type"] !== undefined) return skipped("not_a_frame");
  const timestampMs = value["timestamp"];
  if (typeof timestampMs !== "number" || !(Math.abs(timestampMs) <= TIMESTAMP_MS_MAX)) {
    return skipped("bad_timestamp");
  }
  const { delay = EMPTY, doppler = EMPTY, snr = EMPTY } = value;
  const adsb = value["adsb"] ?? EMPTY;
  if (!isArray(delay) || !isArray(doppler) || !isArray(snr) || !isArray(adsb)) {
    return skipped("bad_array");
  }
  if (Math.max(delay.length, doppler.length, snr.length, adsb.length) > DETECTIONS_MAX) {
    return skipped("too_many_detections");
  }
  if (!areNumbers(delay) || !areNumbers(doppler) || !areNumbers(snr)) return skipped("bad_number");
  if (!areAdsb(adsb)) return skipped("bad_adsb");
  const count = Math.min(delay.length, doppler.length, snr.length);
  return {
    is: "frame",
    frame: {
      timestampMs,
      delaysKm: cut(delay, count),
      dopplersHz: cut(doppler, count),
      snrsDb: cut(snr, count),
      adsb: adsb.length < count ? [...adsb, ...nulls(count - adsb.length)] : cut(adsb, count),
    },
  };
}

function skipped(reason: SkipReason): Line {
  return { is: "skipped", reason };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function areNumbers(values: readonly unknown[]): values is readonly number[] {
  return values.every((value) => typeof value === "number" && Number.isFinite(value));
}

function areAdsb(values: readonly unknown[]): values is readonly (Adsb | null)[] {
  return values.every((value) => value === null || isObject(value));
}

function cut<T>(values: readonly T[], count: number): readonly T[] {
  return values.length === count ? values : values.slice(0, count);
}

function nulls(count: number): null[] {
  return Array.from({ length: count }, () => null);
}
