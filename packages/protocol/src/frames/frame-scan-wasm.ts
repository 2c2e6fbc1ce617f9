/**
 * The fastest path of checkFrame: scans the lines of a chunk with vector instructions. It is sound but not complete: `true`
 * means that the line is a frame, `false` that the other paths must find out.
 *
 * It is fast because the cost of a number does not depend on its length. It turns 16 or 32 bytes at a time into words with one
 * bit for each digit, point, minus and comma, and checks the grammar with a few operations on those words; a loop over bytes
 * would mispredict a branch at the end of nearly every number. It accepts one spelling only, that of JSON.stringify: the keys
 * in the order of the protocol, no spaces, no escapes, no exponents, flat objects in `adsb`.
 */
import { DETECTIONS_MAX } from "./frame-scan.ts";
import {
  add,
  and,
  block,
  byteAt,
  call,
  clz,
  type Code,
  ctz,
  eq,
  every,
  everyEq,
  everyMin,
  everyOr,
  everySub,
  functionOf,
  returnValue,
  int,
  isAbove,
  isZero,
  jump,
  type Local,
  loop,
  moduleOf,
  ne,
  not,
  ones,
  or,
  putWord,
  shl,
  sub,
  topBits,
  vectorAt,
  when,
  wordAt,
  xor,
} from "./wasm-code.ts";

/** A larger chunk is left to the other paths. Bun reads no more than this from a socket at once. */
const CHUNK_BYTES_MAX = 512 * 1024;
/** The module, which takes 3 MB, is built when the first chunk of this size arrives; only busy streams have them. */
const BUSY_CHUNK_BYTES = 16 * 1024;
/** Where the chunk begins in memory. No position in it is 0, which means "no"; the word at 0 holds the length of the latest array. */
const CHUNK_START = 64;
/** Reads extend up to 32 bytes past the chunk. */
const PAGES = CHUNK_BYTES_MAX / 65_536 + 1;

const WORD = 4;
const VECTOR = 16;

// The indexes by which the functions of the module call one another.
const STRING = 0;
const NUMBER = 1;
const NUMBERS = 2;
const OBJECTS = 3;

const refuse = returnValue(int(0));
const refuseIf = (condition: Code): Code => when(condition, refuse);
const mustBe = (condition: Code): Code => refuseIf(isZero(condition));
const char = (c: string): Code => int(c.charCodeAt(0));
const isChar = (p: Local, c: string): Code => eq(byteAt(p.get), char(c));
const forward = (p: Local, by: number): Code => p.set(add(p.get, int(by)));
const orRefuse = (p: Local, next: Code): Code => [...p.set(next), ...mustBe(p.get)];
const doubled: (bits: Code) => Code = (bits) => shl(bits, int(1));
const length: Code = wordAt(int(0));

/** For each byte of a vector, whether it is the character `c`, or a digit. */
const everyChar = (v: Code, c: string): Code => everyEq(v, every(c.charCodeAt(0)));
const everyDigit = (v: Code): Code => {
  const value = everySub(v, every("0".charCodeAt(0)));
  return everyEq(everyMin(value, every(9)), value);
};

/** Whether `text`, of at least one word, is at `p`. */
function isText(p: Local, text: string): Code {
  const differences: Code[] = [];
  for (let i = 0; i < text.length; i += WORD) {
    const at = Math.min(i, text.length - WORD);
    const word = new DataView(new TextEncoder().encode(text).buffer).getInt32(at, true);
    differences.push(xor(wordAt(p.get, at), int(word)));
  }
  return isZero(or(...differences));
}

/** Returns the position after the string whose first character is at `p`: ASCII, no control characters, no escapes. */
const string = functionOf({ params: ["p"], ints: ["stop"], vectors: ["v"] }, ({ p, stop, v }) => {
  const isControl = everyEq(everyMin(v.get, every(31)), v.get);
  const quoteOrEscape = everyOr(everyChar(v.get, '"'), everyChar(v.get, "\\"));
  return [
    loop(
      v.set(vectorAt(p.get)),
      // A non-ASCII byte has its own top bit set.
      stop.set(topBits(everyOr(everyOr(quoteOrEscape, isControl), v.get))),
      when(isZero(stop.get), forward(p, VECTOR), jump(1)),
    ),
    p.set(add(p.get, ctz(stop.get))),
    mustBe(isChar(p, '"')),
    returnValue(add(p.get, int(1))),
  ];
});

/**
 * The faults of the numbers in a stretch of bytes, as words that are zero when there is none. `digit`, `point` and `minus` have
 * a bit for each such character; all other characters of the stretch are commas, and the bits after its end are clear.
 * `start` has a bit where a number must start, `zero` one for each digit 0.
 */
function numberFaults(
  digit: Local,
  point: Local,
  minus: Local,
  start: Code,
  zero: Code,
): readonly Code[] {
  const integer = or(and(start, not(minus.get)), doubled(minus.get));
  return [
    and(minus.get, not(start)),
    // A digit must be where a number or its fraction begins, not another sign or the end.
    and(integer, not(digit.get)),
    and(doubled(point.get), not(digit.get)),
    and(doubled(and(integer, zero)), digit.get),
    // The sum carries a bit from after a point across the digits to the next character, which must not be another point.
    and(and(add(doubled(point.get), digit.get), not(digit.get)), point.get),
  ];
}

/** Returns the position after the number at `p`, of fewer than 16 bytes. The caller checks what follows. */
const number = functionOf(
  { params: ["p"], ints: ["digit", "point", "minus", "end", "inside"], vectors: ["v"] },
  ({ p, digit, point, minus, end, inside, v }) => [
    v.set(vectorAt(p.get)),
    digit.set(topBits(everyDigit(v.get))),
    point.set(topBits(everyChar(v.get, "."))),
    minus.set(topBits(everyChar(v.get, "-"))),
    end.set(ctz(not(or(digit.get, point.get, minus.get)))),
    refuseIf(eq(end.get, int(VECTOR))),
    inside.set(sub(shl(int(1), end.get), int(1))),
    digit.set(and(digit.get, inside.get)),
    point.set(and(point.get, inside.get)),
    minus.set(and(minus.get, inside.get)),
    refuseIf(or(...numberFaults(digit, point, minus, int(1), topBits(everyChar(v.get, "0"))))),
    returnValue(add(p.get, end.get)),
  ],
);

/** Returns the position after the array whose first number is at `p`, at least one, each of fewer than 32 bytes. Sets `length`. */
const numbers = functionOf(
  {
    params: ["p"],
    ints: ["digit", "point", "minus", "comma", "end", "inside", "start", "count"],
    vectors: ["v", "w"],
  },
  ({ p, digit, point, minus, comma, end, inside, start, count, v, w }) => {
    const both = (test: (v: Code) => Code): Code =>
      or(topBits(test(v.get)), shl(topBits(test(w.get)), int(VECTOR)));
    const bits = (c: string): Code => both((x) => everyChar(x, c));
    return [
      loop(
        v.set(vectorAt(p.get)),
        w.set(vectorAt(p.get, VECTOR)),
        digit.set(both(everyDigit)),
        point.set(bits(".")),
        minus.set(bits("-")),
        comma.set(bits(",")),
        // Checks up to the end of the array, or otherwise up to the last comma in view.
        end.set(not(or(digit.get, point.get, minus.get, comma.get))),
        block(
          when(
            end.get,
            end.set(ctz(end.get)),
            mustBe(eq(byteAt(add(p.get, end.get)), char("]"))),
            jump(1),
          ),
          mustBe(comma.get),
          end.set(sub(int(31), clz(comma.get))),
        ),
        inside.set(sub(shl(int(1), end.get), int(1))),
        digit.set(and(digit.get, inside.get)),
        point.set(and(point.get, inside.get)),
        minus.set(and(minus.get, inside.get)),
        comma.set(and(comma.get, inside.get)),
        start.set(or(doubled(comma.get), int(1))),
        refuseIf(or(...numberFaults(digit, point, minus, start.get, bits("0")))),
        count.set(add(count.get, ones(start.get))),
        p.set(add(p.get, end.get)),
        forward(p, 1),
        when(eq(byteAt(sub(p.get, int(1))), char(",")), jump(1)),
      ),
      putWord(int(0), count.get),
      returnValue(p.get),
    ];
  },
);

/** Returns the position after the array whose first null or flat object is at `p`, at least one. Sets `length`. */
const objects = functionOf(
  { params: ["p"], ints: ["count", "after"], vectors: [] },
  ({ p, count, after }) => {
    const orString = orRefuse(p, call(STRING, add(p.get, int(1))));
    const take = [...after.set(byteAt(p.get)), ...forward(p, 1)];
    const isAfter = (c: string): Code => eq(after.get, char(c));
    return [
      loop(
        count.set(add(count.get, int(1))),
        block(
          when(isText(p, "null"), forward(p, "null".length), jump(1)),
          mustBe(isChar(p, "{")),
          forward(p, 1),
          when(isChar(p, "}"), forward(p, 1), jump(1)),
          loop(
            mustBe(isChar(p, '"')),
            orString,
            mustBe(isChar(p, ":")),
            forward(p, 1),
            block(
              when(isChar(p, '"'), orString, jump(1)),
              when(isText(p, "null"), forward(p, "null".length), jump(1)),
              orRefuse(p, call(NUMBER, p.get)),
            ),
            take,
            when(isAfter(","), jump(1)),
            mustBe(isAfter("}")),
          ),
        ),
        take,
        when(isAfter(","), jump(1)),
      ),
      mustBe(isAfter("]")),
      putWord(int(0), count.get),
      returnValue(p.get),
    ];
  },
);

/** Whether the line from `p` to `end` is a frame. */
const run = functionOf(
  { params: ["p", "end"], ints: ["count", "digits"], vectors: [] },
  ({ p, end, count, digits }) => {
    const array = (key: string, scan: number, note: Code): Code => [
      ...mustBe(isText(p, key)),
      ...forward(p, key.length),
      ...putWord(int(0), int(0)),
      ...block(when(isChar(p, "]"), forward(p, 1), jump(1)), orRefuse(p, call(scan, p.get))),
      ...note,
    ];
    const asLong = refuseIf(ne(count.get, length));
    const key = '{"timestamp":';
    return [
      mustBe(isText(p, key)),
      forward(p, key.length),
      digits.set(ctz(not(topBits(everyDigit(vectorAt(p.get)))))),
      refuseIf(or(isZero(digits.get), eq(digits.get, int(VECTOR)), isChar(p, "0"))),
      p.set(add(p.get, digits.get)),
      array(',"delay":[', NUMBERS, count.set(length)),
      array(',"doppler":[', NUMBERS, asLong),
      array(',"snr":[', NUMBERS, asLong),
      when(isChar(p, ","), array(',"adsb":[', OBJECTS, asLong)),
      mustBe(isChar(p, "}")),
      refuseIf(isAbove(count.get, int(DETECTIONS_MAX))),
      returnValue(eq(add(p.get, int(1)), end.get)),
    ];
  },
);

interface Scanner {
  readonly memory: Uint8Array;
  readonly run: (start: number, end: number) => number;
}

/** Returns undefined where Bun cannot use the vector instructions of the processor. */
function buildScanner(): Scanner | undefined {
  const bytes = moduleOf(PAGES, [string, number, numbers, objects, run]);
  if (!WebAssembly.validate(bytes)) return undefined;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  const memory = new Uint8Array((exports["memory"] as WebAssembly.Memory).buffer);
  return { memory, run: exports["run"] as Scanner["run"] };
}

let scanner: Scanner | "not_built" | undefined = "not_built";
let prepared: Uint8Array | undefined;

/** Copies a chunk for `scanPrepared`, and replaces the one before. The chunk must not change while its lines are checked. */
export function prepareFrames(chunk: Uint8Array): void {
  prepared = undefined;
  if (scanner === "not_built") {
    if (chunk.length < BUSY_CHUNK_BYTES) return;
    scanner = buildScanner();
  }
  if (scanner === undefined || chunk.length > CHUNK_BYTES_MAX) return;
  scanner.memory.set(chunk, CHUNK_START);
  prepared = chunk;
}

/** Whether `bytes[start..end)` is a frame in the most common form. Returns false unless `bytes` is the prepared chunk. */
export function scanPrepared(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes !== prepared || scanner === undefined || scanner === "not_built") return false;
  return scanner.run(start + CHUNK_START, end + CHUNK_START) !== 0;
}
