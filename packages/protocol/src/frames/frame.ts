/**
 * The definition of a frame, and the check of every line before a tracker receives it. Trackers are third-party programs that
 * may crash on anything else, so only well-formed frames in ASCII pass. (T1, T8)
 */
import { DETECTIONS_MAX, scanFrame } from "./frame-scan.ts";
import { scanPrepared } from "./frame-scan-wasm.ts";
import { LINE_BYTES_MAX } from "./lines.ts";

export { DETECTIONS_MAX } from "./frame-scan.ts";

/** The deepest nesting that passes; much more would crash a tracker with a recursive parser. */
const DEPTH_MAX = 64;
/** Matches text that may hold a number too large for a double: one with an exponent or with this many digits. */
const MAYBE_HUGE_NUMBER = /\d{300}|\d[eE]/;

/** Why a line is not a frame. */
export type FrameProblem =
  | "bad_utf8"
  | "bad_json"
  | "not_an_object"
  | "bad_timestamp"
  | "bad_arrays"
  | "ragged_arrays"
  | "too_many_detections"
  | "bad_adsb"
  | "bad_number"
  | "too_deep"
  | "too_long";

/**
 * `frame`: the line is a frame as it is. `reencoded`: `replacement` is the frame in ASCII, LF included. `not_frame`: `object` is
 * the content of the line if it is a JSON object, such as a control message.
 */
export type FrameVerdict =
  | { readonly at: "frame" }
  | { readonly at: "reencoded"; readonly replacement: Uint8Array }
  | {
      readonly at: "not_frame";
      readonly problem: FrameProblem;
      readonly object: Record<string, unknown> | undefined;
    };

const FRAME: FrameVerdict = { at: "frame" };
const LF = 10;
const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/**
 * Checks the line `bytes[start..end)` (no LF). A frame is a JSON object with a finite `timestamp`; `delay`, `doppler`
 * and `snr` arrays of finite numbers of one length (≤ DETECTIONS_MAX); and `adsb` absent or an array of that length of
 * objects or nulls. Other keys are allowed. A line with a byte ≥ 0x80 is re-encoded with `\u` escapes. The common form takes
 * one pass and no allocation; lines of a chunk that was passed to `prepareFrames` take half the time.
 */
export function checkFrame(bytes: Uint8Array, start: number, end: number): FrameVerdict {
  if (scanPrepared(bytes, start, end) || scanFrame(bytes, start, end)) return FRAME;
  return checkCarefully(bytes, start, end);
}

function checkCarefully(bytes: Uint8Array, start: number, end: number): FrameVerdict {
  const parsed = parseObject(bytes, start, end);
  if (typeof parsed === "string") return notFrame(parsed);
  const { text, value } = parsed;
  const problem = frameProblem(parsed);
  if (problem !== undefined) return notFrame(problem, value);
  if (text.length === end - start) return FRAME;
  const replacement = encoder.encode(`${escapeNonAscii(text)}\n`);
  if (replacement.length > LINE_BYTES_MAX) return notFrame("too_long", value);
  return { at: "reencoded", replacement };
}

function notFrame(problem: FrameProblem, object?: Record<string, unknown>): FrameVerdict {
  return { at: "not_frame", problem, object };
}

/** A JSON object and its text. */
export interface ParsedObject {
  readonly value: Record<string, unknown>;
  readonly text: string;
}

/** Reads the line `bytes[start..end)` as a JSON object. Returns the problem when it is none. */
export function parseObject(
  bytes: Uint8Array,
  start: number,
  end: number,
): ParsedObject | "bad_utf8" | "bad_json" | "not_an_object" {
  let text: string;
  try {
    text = decoder.decode(bytes.subarray(start, end));
  } catch {
    return "bad_utf8";
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "bad_json";
  }
  return isObject(value) ? { value, text } : "not_an_object";
}

/** A frame as the line a tracker receives: ASCII, LF included. `timestampMs` is the frame's own. */
export interface EncodedFrame {
  readonly timestampMs: number;
  readonly bytes: Uint8Array;
}

/**
 * Checks an object and encodes it as a frame without the keys `omitted`, for frames that do not arrive as lines of their own.
 * Numbers keep their values, not their spelling.
 */
export function encodeFrame(
  parsed: ParsedObject,
  omitted: readonly string[] = [],
): EncodedFrame | FrameProblem {
  const problem = frameProblem(parsed);
  if (problem !== undefined) return problem;
  const frame = { ...parsed.value };
  for (const key of omitted) delete frame[key];
  const bytes = encodeAscii(frame);
  if (bytes.length > LINE_BYTES_MAX) return "too_long";
  return { timestampMs: frame["timestamp"] as number, bytes };
}

/** Why an object is not a frame; undefined when it is one. */
function frameProblem({ value, text }: ParsedObject): FrameProblem | undefined {
  if (!Number.isFinite(value["timestamp"])) return "bad_timestamp";
  const { delay, doppler, snr, adsb } = value;
  if (!isNumbers(delay) || !isNumbers(doppler) || !isNumbers(snr)) return "bad_arrays";
  const n = delay.length;
  if (n !== doppler.length || n !== snr.length) return "ragged_arrays";
  if (n > DETECTIONS_MAX) return "too_many_detections";
  if (adsb !== undefined && !isAdsb(adsb, n)) return "bad_adsb";
  return textProblem(text);
}

/** Encodes a value as one line of JSON in ASCII, LF included. */
export function encodeAscii(value: unknown): Uint8Array {
  const text = JSON.stringify(value);
  const bytes = new Uint8Array(text.length + 1);
  const { read, written } = encoder.encodeInto(text, bytes);
  if (read === text.length && written === text.length) {
    bytes[written] = LF;
    return bytes;
  }
  return encoder.encode(`${escapeNonAscii(text)}\n`);
}

/** Replaces every non-ASCII code unit by its escape. Outside strings JSON is ASCII, so the value stays the same. */
function escapeNonAscii(text: string): string {
  return text.replace(
    /[\u0080-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((x) => Number.isFinite(x));
}

function isAdsb(value: unknown, length: number): boolean {
  return (
    Array.isArray(value) && value.length === length && value.every((a) => a === null || isObject(a))
  );
}

/**
 * Finds what our parser accepts but others may crash on: deep nesting, and numbers too large for a double (Python raises an
 * error for integers of more than 4300 digits). It reads the text, because in the value a repeated key hides the first one.
 */
function textProblem(text: string): "too_deep" | "bad_number" | undefined {
  const maybeHuge = MAYBE_HUGE_NUMBER.test(text);
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 34) i = endOfString(text, i);
    else if (c === 91 || c === 123) {
      if (++depth > DEPTH_MAX) return "too_deep";
    } else if (c === 93 || c === 125) depth--;
    else if (maybeHuge && c >= 48 && c <= 57) {
      const end = endOfNumber(text, i);
      if (!Number.isFinite(Number(text.slice(i, end)))) return "bad_number";
      i = end - 1;
    }
  }
  return undefined;
}

/** The position of the closing quote of the string that opens at `i`, in valid JSON. */
function endOfString(text: string, i: number): number {
  for (;;) {
    const c = text.charCodeAt(++i);
    if (c === 92) i++;
    else if (c === 34) return i;
  }
}

/** The position after the number with a digit at `i`. In valid JSON only the number itself continues with these characters. */
function endOfNumber(text: string, i: number): number {
  for (;;) {
    const c = text.charCodeAt(++i);
    const isDigit = c >= 48 && c <= 57;
    if (!isDigit && c !== 46 && c !== 69 && c !== 101 && c !== 43 && c !== 45) return i;
  }
}
