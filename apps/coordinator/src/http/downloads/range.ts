/** Byte ranges of a GET (RFC 9110 §14). Several ranges in one request are not served as such: the whole is, which is allowed. */

/** Which bytes are asked for; `end` is past the last one. */
export type ByteRange =
  | { readonly at: "whole" }
  | { readonly at: "part"; readonly start: number; readonly end: number }
  | { readonly at: "unsatisfiable" };

const WHOLE: ByteRange = { at: "whole" };

/**
 * Reads the headers `Range` and `If-Range` for something of `bytes` bytes whose strong ETag is `etag`. With an `If-Range`
 * that is another, or a date, the range does not count; neither does one that is malformed.
 */
export function byteRange(
  range: string | undefined,
  ifRange: string | undefined,
  bytes: number,
  etag: string,
): ByteRange {
  const match = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(range ?? "");
  if (match === null || (ifRange !== undefined && ifRange !== etag)) return WHOLE;
  const [, first = "", last = ""] = match;
  if (first === "") return last === "" ? WHOLE : tail(Number(last), bytes);
  const start = Number(first);
  const end = last === "" ? bytes : Math.min(Number(last) + 1, bytes);
  if (last !== "" && Number(last) < start) return WHOLE;
  return start >= bytes ? { at: "unsatisfiable" } : { at: "part", start, end };
}

function tail(length: number, bytes: number): ByteRange {
  if (length === 0 || bytes === 0) return { at: "unsatisfiable" };
  return { at: "part", start: Math.max(0, bytes - length), end: bytes };
}
