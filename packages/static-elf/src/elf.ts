/** Reads headers and the dynamic section of little-endian 64-bit ELF files. (System V gABI, chapters 4 and 5) */
import { StaticElfError } from "./errors.ts";

/** Supported processors with their e_machine. */
export const MACHINES = { x86_64: 62, aarch64: 183 } as const;
export type Machine = keyof typeof MACHINES;

export const ET_EXEC = 2;
export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_INTERP = 3;
export const PF_X = 1;
export const PF_R = 4;

/** Maximum length of the name of a library or an interpreter. (PATH_MAX) */
const TEXT_BYTES_MAX = 4096;
const EHDR_BYTES = 64;
/** Size of one program header. */
export const PHDR_BYTES = 56;
const DYN_BYTES = 16;
const DT_NULL = 0n;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const DT_SONAME = 14n;
const DT_PREINIT_ARRAY = 32n;

/** A program header. */
export interface Segment {
  readonly index: number;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
}

/** The address and the relevant entries of the dynamic section. */
export interface Dynamic {
  readonly address: number;
  /** Number of entries, including DT_NULL. */
  readonly count: number;
  readonly strtabAddress: number;
  readonly needed: readonly string[];
  readonly soname: string | undefined;
  /** Whether it has functions that ld.so calls before all constructors. */
  readonly hasPreinit: boolean;
}

/** An ELF file in memory. Error messages refer to it by `name`. */
export class Elf {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly machine: Machine;
  readonly type: number;
  readonly entry: number;
  readonly phdrOffset: number;
  readonly segments: readonly Segment[];

  /**
   * Parses the headers. Throws StaticElfError: not_elf, not_64_bit, big_endian, unsupported_machine, truncated, malformed.
   */
  constructor(name: string, bytes: Uint8Array) {
    this.name = name;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const magic = bytes.length >= 4 ? this.view.getUint32(0) : 0;
    if (magic !== 0x7f454c46) throw new StaticElfError("not_elf", `${name} is not an ELF file`);
    this.#need(0, EHDR_BYTES);
    if (bytes[4] !== 2) throw new StaticElfError("not_64_bit", `${name} is not a 64-bit ELF file`);
    if (bytes[5] !== 1) throw new StaticElfError("big_endian", `${name} is big-endian`);
    this.type = this.view.getUint16(16, true);
    this.machine = machineOf(name, this.view.getUint16(18, true));
    this.entry = this.u64(24);
    this.phdrOffset = this.u64(32);
    const count = this.view.getUint16(56, true);
    if (count > 0 && this.view.getUint16(54, true) !== PHDR_BYTES)
      throw new StaticElfError("malformed", `${name} has program headers of an unknown size`);
    this.#need(this.phdrOffset, count * PHDR_BYTES);
    this.segments = Array.from({ length: count }, (_, index) => this.#segment(index));
  }

  /** The 64-bit number at a file offset. Throws `malformed` beyond 2^53, which no file offset or user address reaches. */
  u64(offset: number): number {
    return this.#exact(this.view.getBigUint64(offset, true));
  }

  #exact(value: bigint): number {
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new StaticElfError("malformed", `${this.name} contains the invalid number ${value}`);
    return Number(value);
  }

  /** The segments of one type. */
  of(type: number): readonly Segment[] {
    return this.segments.filter((s) => s.type === type);
  }

  /** The file offset that is mapped to a virtual address. Throws `malformed`. */
  offsetOf(address: number): number {
    for (const s of this.of(PT_LOAD)) {
      if (address >= s.address && address < s.address + s.fileBytes)
        return s.offset + (address - s.address);
    }
    throw new StaticElfError(
      "malformed",
      `${this.name}: no segment contains the address 0x${address.toString(16)}`,
    );
  }

  /** The dynamic section, or undefined in a static file. Throws `truncated`, `malformed`. */
  dynamic(): Dynamic | undefined {
    const segment = this.of(PT_DYNAMIC)[0];
    if (segment === undefined) return undefined;
    this.#need(segment.offset, segment.fileBytes);
    if (this.offsetOf(segment.address) !== segment.offset)
      throw new StaticElfError("malformed", `${this.name} does not map its dynamic section`);
    const entries: { tag: bigint; value: bigint }[] = [];
    for (let at = 0; entries.at(-1)?.tag !== DT_NULL; at += DYN_BYTES) {
      if (at + DYN_BYTES > segment.fileBytes)
        throw new StaticElfError(
          "malformed",
          `${this.name}: the dynamic section is not terminated`,
        );
      const [tag, value] = [0, 8].map((i) =>
        this.view.getBigUint64(segment.offset + at + i, true),
      ) as [bigint, bigint];
      entries.push({ tag, value });
    }
    const strtab = entries.find((e) => e.tag === DT_STRTAB);
    if (strtab === undefined)
      throw new StaticElfError("malformed", `${this.name} has no dynamic string table`);
    const strtabAddress = this.#exact(strtab.value);
    const strings = this.offsetOf(strtabAddress);
    const names = (tag: bigint): string[] =>
      entries
        .filter((e) => e.tag === tag)
        .map((e) => this.text(this.#exact(BigInt(strings) + e.value)));
    return {
      address: segment.address,
      count: entries.length,
      strtabAddress,
      needed: names(DT_NEEDED),
      soname: names(DT_SONAME)[0],
      hasPreinit: entries.some((e) => e.tag === DT_PREINIT_ARRAY),
    };
  }

  /** The NUL-terminated printable ASCII text at a file offset. Throws `truncated`, `malformed`. */
  text(offset: number): string {
    const end = this.bytes.indexOf(0, offset);
    if (end < 0) throw new StaticElfError("truncated", `${this.name} ends within a name`);
    const text = this.bytes.subarray(offset, end);
    if (text.length > TEXT_BYTES_MAX || text.some((byte) => byte < 0x20 || byte > 0x7e))
      throw new StaticElfError("malformed", `${this.name} contains an invalid name`);
    return new TextDecoder().decode(text);
  }

  #segment(index: number): Segment {
    const at = this.phdrOffset + index * PHDR_BYTES;
    const segment = {
      index,
      type: this.view.getUint32(at, true),
      flags: this.view.getUint32(at + 4, true),
      offset: this.u64(at + 8),
      address: this.u64(at + 16),
      fileBytes: this.u64(at + 32),
      memoryBytes: this.u64(at + 40),
    };
    if (segment.type === PT_LOAD) this.#need(segment.offset, segment.fileBytes);
    return segment;
  }

  #need(offset: number, size: number): void {
    if (offset + size > this.bytes.length)
      throw new StaticElfError("truncated", `${this.name} is truncated`);
  }
}

function machineOf(name: string, code: number): Machine {
  for (const [machine, value] of Object.entries(MACHINES)) {
    if (value === code) return machine as Machine;
  }
  throw new StaticElfError(
    "unsupported_machine",
    `${name} is for a processor with ELF code ${code}`,
  );
}
