/** Test helper: builds minimal ELF files that can be parsed as executables or libraries. */
import { MACHINES, type Machine, PHDR_BYTES, PT_DYNAMIC, PT_INTERP, PT_LOAD } from "./elf.ts";

const EHDR_BYTES = 64;
const DYN_BYTES = 16;
/** The address of file offset 0. */
const ADDRESS = 0x200000;
const ET_EXEC = 2;
const PT_PHDR = 6;

/** Properties of the file. The defaults are those of `bun build --compile`. */
export interface ElfSpec {
  readonly machine?: Machine;
  readonly type?: number;
  readonly address?: number;
  /** undefined: none. */
  readonly interpreter?: string | undefined;
  readonly needed?: readonly string[];
  /** Additional entries of the dynamic section, as tag and value. */
  readonly extra?: readonly (readonly [number, number])[];
  /** Number of additional program headers of an unknown type. */
  readonly padding?: number;
}

const GLIBC = "/lib64/ld-linux-x86-64.so.2";

/** Builds an ELF file with a single segment and the headers described by `spec`. */
export function makeElf(spec: ElfSpec = {}): Uint8Array {
  const { machine = "x86_64", type = ET_EXEC, address = ADDRESS, padding = 0 } = spec;
  const interpreter = "interpreter" in spec ? spec.interpreter : GLIBC;
  const needed = spec.needed ?? ["libc.so.6"];
  const headers = 3 + (interpreter === undefined ? 0 : 1) + padding;
  const interpAt = EHDR_BYTES + headers * PHDR_BYTES;
  const strings = `${interpreter ?? ""}\0${needed.map((name) => `${name}\0`).join("")}`;
  const dynamicAt = Math.ceil((interpAt + strings.length) / 8) * 8;
  const entries: (readonly [number, number])[] = [];
  let at = (interpreter ?? "").length + 1;
  for (const name of needed) {
    entries.push([1, at]);
    at += name.length + 1;
  }
  entries.push([5, address + interpAt], ...(spec.extra ?? []), [0, 0]);
  const bytes = new Uint8Array(dynamicAt + entries.length * DYN_BYTES);
  const view = new DataView(bytes.buffer);

  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, type, true);
  view.setUint16(18, MACHINES[machine], true);
  setWords(view, 24, [address + interpAt, EHDR_BYTES]);
  view.setUint16(54, PHDR_BYTES, true);
  view.setUint16(56, headers, true);

  const whole = bytes.length;
  const rows: (readonly [number, number, number])[] = [
    [PT_PHDR, EHDR_BYTES, headers * PHDR_BYTES],
    ...(interpreter === undefined ? [] : [[PT_INTERP, interpAt, interpreter.length + 1] as const]),
    [PT_LOAD, 0, whole],
    [PT_DYNAMIC, dynamicAt, entries.length * DYN_BYTES],
    ...Array.from({ length: padding }, () => [0x6000_0001, 0, 0] as const),
  ];
  for (const [i, [kind, offset, size]] of rows.entries()) {
    const row = EHDR_BYTES + i * PHDR_BYTES;
    view.setUint32(row, kind, true);
    view.setUint32(row + 4, 5, true);
    setWords(view, row + 8, [offset, address + offset, address + offset, size, size, 4096]);
  }
  bytes.set(new TextEncoder().encode(strings), interpAt);
  for (const [i, entry] of entries.entries()) setWords(view, dynamicAt + i * DYN_BYTES, entry);
  return bytes;
}

function setWords(view: DataView, at: number, words: readonly number[]): void {
  for (const [i, word] of words.entries()) view.setBigUint64(at + i * 8, BigInt(word), true);
}
