/**
 * Writes a small WebAssembly module as expressions, so that it needs neither a toolchain nor a binary file. Each function
 * returns the code of its arguments followed by the instruction that it is named for, in the order of the stack machine. Used
 * by frame-scan-wasm.ts. (WebAssembly Core Specification 2.0, chapter 5)
 */

/** The bytes of instructions. */
export type Code = readonly number[];

/** A local variable of a function. */
export interface Local {
  readonly get: Code;
  set(value: Code): Code;
}

/** A function of i32 parameters with one i32 result. */
export interface FunctionCode {
  readonly params: number;
  readonly bytes: Code;
}

type Unary = (a: Code) => Code;
type Binary = (a: Code, b: Code) => Code;

const VOID = 0x40;
const I32 = 0x7f;
const V128 = 0x7b;
const FUNCTION = 0x60;
const SIMD = 0xfd;
const END = 0x0b;
const EXPORTS_FUNCTION = 0;
const EXPORTS_MEMORY = 2;

const unary =
  (...op: number[]): Unary =>
  (a) => [...a, ...op];
const binary =
  (...op: number[]): Binary =>
  (a, b) => [...a, ...b, ...op];

// Operations on 32 bits.
export const int = (n: number): Code => [0x41, ...signed(n)];
export const isZero = unary(0x45);
export const eq = binary(0x46);
export const ne = binary(0x47);
export const isAbove = binary(0x4b);
/** The number of leading or trailing zero bits; 32 for zero. */
export const clz = unary(0x67);
export const ctz = unary(0x68);
export const ones = unary(0x69);
export const add = binary(0x6a);
export const sub = binary(0x6b);
export const and = binary(0x71);
export const xor = binary(0x73);
export const shl = binary(0x74);
export const not: Unary = (a) => xor(a, int(-1));
export const or = (...all: Code[]): Code => all.reduce((a, b) => [...a, ...b, 0x72]);

// Memory at `p + offset`: one byte, a word of four bytes, a vector of sixteen.
export const byteAt = (p: Code, offset = 0): Code => [...p, 0x2d, 0, ...unsigned(offset)];
export const wordAt = (p: Code, offset = 0): Code => [...p, 0x28, 0, ...unsigned(offset)];
export const putWord = (p: Code, value: Code): Code => [...p, ...value, 0x36, 0, 0];
export const vectorAt = (p: Code, offset = 0): Code => [...p, SIMD, 0x00, 0, ...unsigned(offset)];

// Operations on sixteen bytes at once. A comparison results in 0xff or 0 for each.
export const every = (byte: number): Code => [...int(byte), SIMD, 0x0f];
export const everyEq = binary(SIMD, 0x23);
export const everyOr = binary(SIMD, 0x50);
export const everySub = binary(SIMD, 0x71);
export const everyMin = binary(SIMD, 0x77);
/** A word with the top bit of each byte, that of the first byte lowest. */
export const topBits = unary(SIMD, 0x64);

export const block = (...body: Code[]): Code => [0x02, VOID, ...body.flat(), END];
export const loop = (...body: Code[]): Code => [0x03, VOID, ...body.flat(), END];
export const when = (condition: Code, ...body: Code[]): Code => [
  ...condition,
  0x04,
  VOID,
  ...body.flat(),
  END,
];
/** Jumps to the end of the block, or the start of the loop, that is `depth` levels out; a `when` counts as a level. */
export const jump = (depth: number): Code => [0x0c, depth];
export const returnValue = (value: Code): Code => [...value, 0x0f];
export const call = (index: number, ...args: Code[]): Code => [...args.flat(), 0x10, index];

/** Writes a function from the names of its variables by type and its body, which ends with `returnValue` on every path. */
export function functionOf<const Name extends string>(
  names: {
    readonly params: readonly Name[];
    readonly ints: readonly Name[];
    readonly vectors: readonly Name[];
  },
  body: (locals: Record<Name, Local>) => readonly Code[],
): FunctionCode {
  const { params, ints, vectors } = names;
  const locals = Object.fromEntries(
    [...params, ...ints, ...vectors].map((name, i) => {
      const local: Local = { get: [0x20, i], set: (value) => [...value, 0x21, i] };
      return [name, local];
    }),
  ) as Record<Name, Local>;
  const types = list([
    [ints.length, I32],
    [vectors.length, V128],
  ]);
  const unreachable = 0x00;
  const code = [...types, ...body(locals).flat(), unreachable, END];
  return { params: params.length, bytes: [...unsigned(code.length), ...code] };
}

/** Writes a module of functions that call one another by index. It exports the last as `run`, and `memory` of `pages` × 64 KiB. */
export function moduleOf(
  pages: number,
  functions: readonly FunctionCode[],
): Uint8Array<ArrayBuffer> {
  const types = functions.map((f) => [
    FUNCTION,
    f.params,
    ...Array<number>(f.params).fill(I32),
    1,
    I32,
  ]);
  const exported = [
    [...ascii("memory"), EXPORTS_MEMORY, 0],
    [...ascii("run"), EXPORTS_FUNCTION, functions.length - 1],
  ];
  const sections: readonly (readonly [id: number, items: readonly Code[]])[] = [
    [1, types],
    [3, functions.map((_, i) => [i])],
    [5, [[0, ...unsigned(pages)]]],
    [7, exported],
    [10, functions.map((f) => f.bytes)],
  ];
  const magicAndVersion = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  const bytes = sections.flatMap(([id, items]) => {
    const content = list(items);
    return [id, ...unsigned(content.length), ...content];
  });
  return new Uint8Array([...magicAndVersion, ...bytes]);
}

function list(items: readonly Code[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function ascii(text: string): number[] {
  return list(Array.from(Buffer.from(text, "latin1"), (byte) => [byte]));
}

/** Encodes a number in LEB128: seven bits in a byte, the lowest first. */
function unsigned(n: number): number[] {
  return n < 128 ? [n] : [(n & 127) | 128, ...unsigned(n >>> 7)];
}

function signed(n: number): number[] {
  return n >= -64 && n < 64 ? [n & 127] : [(n & 127) | 128, ...signed(n >> 7)];
}
