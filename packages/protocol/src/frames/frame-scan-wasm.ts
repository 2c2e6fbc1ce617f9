/**
 * The quickest third of frame checking: the lines of a chunk, with vector instructions. Like frame-scan.ts it is sound but not
 * complete: `true` means the line is a well-formed frame; `false` only means that the others have to look.
 *
 * What makes it fast: a number costs the same however long it is. Of 16 or 32 bytes at once it makes words with a bit for
 * each digit, point, minus and comma, and the grammar becomes a few operations on those words, where a loop over bytes would have
 * the processor guess at each byte whether the number ends. It knows one spelling only, which is what JSON.stringify makes
 * of a frame: the keys in the order of the protocol, no spaces, no escapes, no exponents, flat objects in `adsb`.
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
  give,
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

/** A larger chunk is left to the others. Bun reads no more than this from a socket at once. */
const CHUNK_BYTES_MAX = 512 * 1024;
/** A stream that brings so much at once is a busy one. Where there is none, the 3 MB that a module takes are spared. */
const BUSY_CHUNK_BYTES = 16 * 1024;
/** A chunk begins here; the word at 0 holds the length of the array scanned last. So no position is 0, which says "no". */
const CHUNK_START = 64;
/** Reads go up to 32 bytes past the chunk. */
const PAGES = CHUNK_BYTES_MAX / 65_536 + 1;

const WORD = 4;
const VECTOR = 16;

// The functions call one another by their place in the module.
const STRING = 0;
const NUMBER = 1;
const NUMBERS = 2;
const OBJECTS = 3;

const refuse = give(int(0));
const refuseIf = (condition: Code): Code => when(condition, refuse);
const mustBe = (condition: Code): Code => refuseIf(isZero(condition));
const char = (c: string): Code => int(c.charCodeAt(0));
const isChar = (p: Local, c: string): Code => eq(byteAt(p.get), char(c));
const forward = (p: Local, by: number): Code => p.set(add(p.get, int(by)));
const orRefuse = (p: Local, next: Code): Code => [...p.set(next), ...mustBe(p.get)];
const doubled: (bits: Code) => Code = (bits) => shl(bits, int(1));
const length: Code = wordAt(int(0));

/** For each byte of a vector, whether it is this character, or a digit. */
const everyChar = (v: Code, c: string): Code => everyEq(v, every(c.charCodeAt(0)));
const everyDigit = (v: Code): Code => {
  const value = everySub(v, every("0".charCodeAt(0)));
  return everyEq(everyMin(value, every(9)), value);
};

/** Whether `text`, of at least a word, stands at `p`. */
function isText(p: Local, text: string): Code {
  const differences: Code[] = [];
  for (let i = 0; i < text.length; i += WORD) {
    const at = Math.min(i, text.length - WORD);
    const word = new DataView(new TextEncoder().encode(text).buffer).getInt32(at, true);
    differences.push(xor(wordAt(p.get, at), int(word)));
  }
  return isZero(or(...differences));
}

/** The position after the string that has its first character at `p`: ASCII, no controls, no escapes. */
const string = functionOf({ params: ["p"], ints: ["stop"], vectors: ["v"] }, ({ p, stop, v }) => {
  const isControl = everyEq(everyMin(v.get, every(31)), v.get);
  const quoteOrEscape = everyOr(everyChar(v.get, '"'), everyChar(v.get, "\\"));
  return [
    loop(
      v.set(vectorAt(p.get)),
      // A byte that is not ASCII has its own top bit.
      stop.set(topBits(everyOr(everyOr(quoteOrEscape, isControl), v.get))),
      when(isZero(stop.get), forward(p, VECTOR), jump(1)),
    ),
    p.set(add(p.get, ctz(stop.get))),
    mustBe(isChar(p, '"')),
    give(add(p.get, int(1))),
  ];
});

/**
 * What is wrong with numbers, not zero if anything: words with a bit for each digit, point and minus of a stretch in which only
 * commas stand besides, and none from its end on. `start` has a bit where a number must start, `zero` has one for each 0.
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
    // Where a number or its fraction must begin stands a digit: not another sign, and not the end.
    and(integer, not(digit.get)),
    and(doubled(point.get), not(digit.get)),
    and(doubled(and(integer, zero)), digit.get),
    // A sum carries a bit from behind a point over its digits, to what stands after them: not another point.
    and(and(add(doubled(point.get), digit.get), not(digit.get)), point.get),
  ];
}

/** The position after the number at `p`, of less than 16 bytes. What stands there is the caller's to check. */
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
    give(add(p.get, end.get)),
  ],
);

/** The position after the array of numbers, at least one and each of less than 32 bytes, that has its first at `p`; `length` becomes its length. */
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
        // Looks at what is before the array's end, or else before the last comma in sight.
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
      give(p.get),
    ];
  },
);

/** The position after the array of nulls and flat objects, at least one, that has its first at `p`; `length` as above. */
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
      give(p.get),
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
      give(eq(add(p.get, int(1)), end.get)),
    ];
  },
);

interface Scanner {
  readonly memory: Uint8Array;
  readonly run: (start: number, end: number) => number;
}

/** Undefined where the processor has no vector instructions that Bun can use. */
function makeScanner(): Scanner | undefined {
  const bytes = moduleOf(PAGES, [string, number, numbers, objects, run]);
  if (!WebAssembly.validate(bytes)) return undefined;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  const memory = new Uint8Array((exports["memory"] as WebAssembly.Memory).buffer);
  return { memory, run: exports["run"] as Scanner["run"] };
}

let scanner: Scanner | "unmade" | undefined = "unmade";
let prepared: Uint8Array | undefined;

/** Copies a chunk to where `scanPrepared` looks, in place of the one before. It must stay as it is while its lines are checked. */
export function prepareFrames(chunk: Uint8Array): void {
  prepared = undefined;
  if (scanner === "unmade") {
    if (chunk.length < BUSY_CHUNK_BYTES) return;
    scanner = makeScanner();
  }
  if (scanner === undefined || chunk.length > CHUNK_BYTES_MAX) return;
  scanner.memory.set(chunk, CHUNK_START);
  prepared = chunk;
}

/** Whether `bytes[start..end)` is a frame in its commonest form. False for bytes that are not prepared. */
export function scanPrepared(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes !== prepared || scanner === undefined || scanner === "unmade") return false;
  return scanner.run(start + CHUNK_START, end + CHUNK_START) !== 0;
}
