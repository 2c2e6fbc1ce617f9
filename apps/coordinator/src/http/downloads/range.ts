/** Byte ranges of a GET (RFC 9110 §14). A request for several ranges gets the whole file, which the RFC allows. */

/** The requested bytes; `end` is exclusive. */
export type ByteRange =
  | { readonly at: "whole" }
  | { readonly at: "part"; readonly start: number; readonly end: number }
  | { readonly at: "unsatisfiable" };

const WHOLE: ByteRange = { at: "whole" };

/**
 * Parses the headers `Range` and `If-Range` for a file of `bytes` bytes with the strong ETag `etag`. A malformed range is
 * ignored, and so is any range when `If-Range` is a date or a different ETag.
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
