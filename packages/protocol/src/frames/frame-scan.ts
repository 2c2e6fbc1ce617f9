/**
 * The fast path of checkFrame: one pass over the bytes of a line, without allocation. It is sound but not complete: `true`
 * means that the line is a frame, `false` that it must be parsed to find out.
 *
 * It is fast because it is monomorphic on Uint8Array, compares bytes instead of making strings, and returns false at anything
 * unusual (escapes, exponents, unknown keys) instead of handling it. Reading past the end yields `undefined`, which fails
 * every comparison, so no index is checked.
 */

/** The most detections in one frame. */
export const DETECTIONS_MAX = 4096;

const QUOTE = 34;
const COMMA = 44;
const MINUS = 45;
const DOT = 46;
const ZERO = 48;
const NINE = 57;
const COLON = 58;
const LBRACKET = 91;
const BACKSLASH = 92;
const RBRACKET = 93;
const LBRACE = 123;
const RBRACE = 125;
const SPACE = 32;

/** A number with more digits is left to the parser; with so few it neither overflows nor makes a timestamp inexact. */
const DIGITS_MAX = 15;
const DEPTH_MAX = 8;

const TIMESTAMP = new TextEncoder().encode('timestamp"');
const DELAY = new TextEncoder().encode('delay"');
const DOPPLER = new TextEncoder().encode('doppler"');
const SNR = new TextEncoder().encode('snr"');
const ADSB = new TextEncoder().encode('adsb"');

const SEEN_TIMESTAMP = 1;
const SEEN_DELAY = 2;
const SEEN_DOPPLER = 4;
const SEEN_SNR = 8;
const SEEN_ADSB = 16;
const SEEN_REQUIRED = SEEN_TIMESTAMP | SEEN_DELAY | SEEN_DOPPLER | SEEN_SNR;

/** The length of the array that was scanned last: an out-parameter, so that nothing is allocated. */
let elements = 0;

/** Whether `b[start..end)` is a frame in the common form. */
export function scanFrame(b: Uint8Array, start: number, end: number): boolean {
  let p = skipSpaces(b, start);
  if (b[p] !== LBRACE) return false;
  let seen = 0;
  let delays = 0;
  let dopplers = 0;
  let snrs = 0;
  let adsbs = 0;
  for (;;) {
    p = skipSpaces(b, p + 1);
    if (b[p] !== QUOTE) return false;
    const first = b[p + 1];
    let bit: number;
    let key: Uint8Array;
    if (first === 100 && b[p + 2] === 101) {
      bit = SEEN_DELAY;
      key = DELAY;
    } else if (first === 100) {
      bit = SEEN_DOPPLER;
      key = DOPPLER;
    } else if (first === 116) {
      bit = SEEN_TIMESTAMP;
      key = TIMESTAMP;
    } else if (first === 115) {
      bit = SEEN_SNR;
      key = SNR;
    } else if (first === 97) {
      bit = SEEN_ADSB;
      key = ADSB;
    } else return false;
    if ((seen & bit) !== 0 || !matches(b, p + 1, key)) return false;
    seen |= bit;
    p = skipSpaces(b, p + 1 + key.length);
    if (b[p] !== COLON) return false;
    p = skipSpaces(b, p + 1);
    if (bit === SEEN_TIMESTAMP) p = scanTimestamp(b, p);
    else if (bit === SEEN_ADSB) {
      p = scanAdsb(b, p);
      adsbs = elements;
    } else {
      p = scanNumbers(b, p);
      if (bit === SEEN_DELAY) delays = elements;
      else if (bit === SEEN_DOPPLER) dopplers = elements;
      else snrs = elements;
    }
    if (p < 0) return false;
    p = skipSpaces(b, p);
    const c = b[p];
    if (c === COMMA) continue;
    if (c !== RBRACE) return false;
    break;
  }
  if (p + 1 !== end || (seen & SEEN_REQUIRED) !== SEEN_REQUIRED) return false;
  if (delays !== dopplers || delays !== snrs || delays > DETECTIONS_MAX) return false;
  return (seen & SEEN_ADSB) === 0 || adsbs === delays;
}

function skipSpaces(b: Uint8Array, p: number): number {
  while (b[p] === SPACE) p++;
  return p;
}

function matches(b: Uint8Array, p: number, key: Uint8Array): boolean {
  for (let i = 0; i < key.length; i++) if (b[p + i] !== key[i]) return false;
  return true;
}

/** Scans a positive integer of at most DIGITS_MAX digits. Returns the position after it, or −1. */
function scanTimestamp(b: Uint8Array, p: number): number {
  const first = p;
  let c = b[p]!;
  if (c === ZERO) return -1;
  while (c >= ZERO && c <= NINE) c = b[++p]!;
  const digits = p - first;
  return digits === 0 || digits > DIGITS_MAX || !endsValue(c) ? -1 : p;
}

function endsValue(c: number): boolean {
  return c === COMMA || c === RBRACE || c === RBRACKET || c === SPACE;
}

/** Scans an array of JSON numbers without exponents. Returns the position after it, or −1; `elements` is its length. */
function scanNumbers(b: Uint8Array, p: number): number {
  elements = 0;
  if (b[p] !== LBRACKET) return -1;
  let c = b[++p]!;
  if (c === RBRACKET) return p + 1;
  let n = 0;
  for (;;) {
    while (c === SPACE) c = b[++p]!;
    if (c === MINUS) c = b[++p]!;
    const first = p;
    if (c === ZERO) c = b[++p]!;
    else if (c > ZERO && c <= NINE) {
      do c = b[++p]!;
      while (c >= ZERO && c <= NINE);
      if (p - first > DIGITS_MAX) return -1;
    } else return -1;
    if (c === DOT) {
      const point = p;
      do c = b[++p]!;
      while (c >= ZERO && c <= NINE);
      if (p === point + 1) return -1;
    }
    n++;
    while (c === SPACE) c = b[++p]!;
    if (c === COMMA) {
      c = b[++p]!;
      continue;
    }
    if (c !== RBRACKET) return -1;
    elements = n;
    return p + 1;
  }
}

/** Scans an array of nulls and objects. Returns the position after it, or −1; `elements` is its length. */
function scanAdsb(b: Uint8Array, p: number): number {
  elements = 0;
  if (b[p] !== LBRACKET) return -1;
  p = skipSpaces(b, p + 1);
  if (b[p] === RBRACKET) return p + 1;
  let n = 0;
  for (;;) {
    if (b[p] === LBRACE) p = scanValue(b, p, 0);
    else p = scanNull(b, p);
    if (p < 0) return -1;
    n++;
    p = skipSpaces(b, p);
    if (b[p] === COMMA) {
      p = skipSpaces(b, p + 1);
      continue;
    }
    if (b[p] !== RBRACKET) return -1;
    elements = n;
    return p + 1;
  }
}

function scanNull(b: Uint8Array, p: number): number {
  return b[p] === 110 && b[p + 1] === 117 && b[p + 2] === 108 && b[p + 3] === 108 ? p + 4 : -1;
}

/** Scans any JSON value up to DEPTH_MAX deep, without escapes or exponents. Returns the position after it, or −1. */
function scanValue(b: Uint8Array, p: number, depth: number): number {
  const c = b[p]!;
  if (c === QUOTE) return scanString(b, p);
  if (c === MINUS || (c >= ZERO && c <= NINE)) return scanNumber(b, p);
  if (c === 110) return scanNull(b, p);
  if (c === 116) return b[p + 1] === 114 && b[p + 2] === 117 && b[p + 3] === 101 ? p + 4 : -1;
  if (c === 102)
    return b[p + 1] === 97 && b[p + 2] === 108 && b[p + 3] === 115 && b[p + 4] === 101 ? p + 5 : -1;
  if (depth >= DEPTH_MAX) return -1;
  const isObject = c === LBRACE;
  if (!isObject && c !== LBRACKET) return -1;
  const close = isObject ? RBRACE : RBRACKET;
  p = skipSpaces(b, p + 1);
  if (b[p] === close) return p + 1;
  for (;;) {
    if (isObject) {
      if (b[p] !== QUOTE) return -1;
      p = scanString(b, p);
      if (p < 0) return -1;
      p = skipSpaces(b, p);
      if (b[p] !== COLON) return -1;
      p = skipSpaces(b, p + 1);
    }
    p = scanValue(b, p, depth + 1);
    if (p < 0) return -1;
    p = skipSpaces(b, p);
    if (b[p] === close) return p + 1;
    if (b[p] !== COMMA) return -1;
    p = skipSpaces(b, p + 1);
  }
}

/** Scans a string of printable ASCII without escapes. Returns the position after it, or −1. */
function scanString(b: Uint8Array, p: number): number {
  for (;;) {
    const c = b[++p]!;
    if (c === QUOTE) return p + 1;
    if (!(c >= SPACE && c < 0x80) || c === BACKSLASH) return -1;
  }
}

/** Scans a JSON number without an exponent. Returns the position after it, or −1. */
function scanNumber(b: Uint8Array, p: number): number {
  let c = b[p]!;
  if (c === MINUS) c = b[++p]!;
  const first = p;
  if (c === ZERO) c = b[++p]!;
  else {
    while (c >= ZERO && c <= NINE) c = b[++p]!;
    if (p === first || p - first > DIGITS_MAX) return -1;
  }
  if (c === DOT) {
    const point = p;
    do c = b[++p]!;
    while (c >= ZERO && c <= NINE);
    if (p === point + 1) return -1;
  }
  return endsValue(c) ? p : -1;
}
