/**
 * Converts a dynamically linked non-PIE glibc executable, such as the output of `bun build --compile`, to one without an
 * interpreter: appends the stub, ld.so and the libraries, and replaces the PT_INTERP header by a PT_LOAD of the stub, which
 * becomes the entry point. The program's own bytes and addresses do not change. docs/static-elf.md explains the format. (A1)
 */
import { Elf, ET_EXEC, PF_R, PF_X, PHDR_BYTES, PT_INTERP, PT_LOAD, type Segment } from "./elf.ts";
import { StaticElfError } from "./errors.ts";
import { collectLibraries, type Library, type LibrarySet } from "./libraries.ts";
import { sealLdso, sealLibrary } from "./seal.ts";
import { compileStub, type Stub } from "./stub.ts";

/** Alignment of the mapped parts of the file: the largest page size of aarch64 kernels. */
const ALIGN = 65_536;
const PAGE_BYTES = 4096;
const MAGIC = new TextEncoder().encode("fleet-static-elf");
const PARAMS_HEAD_WORDS = 8;
/** Limits of loader.c, less the program header and the two dynamic entries that it adds. */
const LIBRARIES_MAX = 8;
const NAME_BYTES = 32;
const LDSO_PHDRS_MAX = 16;
const PHDRS_MAX = 32 - 1;
const DYNAMIC_MAX = 96 - 2;
/** Address space of the stub and of its data above (`struct ldso_view`). */
const STUB_ROOM = 0x20000;

/** Options of `linkStatic`. */
export interface LinkOptions {
  /** Directories to search for glibc. Default: `libraryDirs()`. */
  readonly libraryDirs?: readonly string[];
  /** C compilers to try for the stub. Default: `compilersFor()`. */
  readonly compilers?: readonly string[];
  /** A compiled stub, to be reused for several programs. Default: compiled for this one. */
  readonly stub?: Stub;
}

/** One appended part of the file. */
export interface Part {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

/** The linked file and what was added to it. */
export interface Linked {
  readonly bytes: Uint8Array;
  readonly parts: readonly Part[];
}

/**
 * Links `input`, the contents of an executable, which error messages call `name`. The result is deterministic for the same
 * input, libraries and compiler. Throws StaticElfError; errors.ts lists the codes.
 */
export function linkStatic(name: string, input: Uint8Array, options: LinkOptions = {}): Linked {
  const program = new Elf(name, input);
  const interp = checkProgram(program);
  const interpreter = program.text(interp.offset);
  const found = collectLibraries(program, interpreter, options.libraryDirs);
  const set: LibrarySet = {
    ldso: sealLdso(found.ldso),
    libraries: found.libraries.map((library) => sealLibrary(library)),
  };
  const stub = options.stub ?? compileStub(program.machine, options.compilers);
  checkRoom(program, stub);
  checkLimits(program, set);
  return assemble(program, interp.index, stub, set);
}

function checkProgram(program: Elf): Segment {
  const { name } = program;
  if (isLinked(program)) throw new StaticElfError("already_linked", `${name} is already linked`);
  if (program.type !== ET_EXEC)
    throw new StaticElfError(
      "position_independent",
      `${name} is position-independent; only executables with fixed addresses can be linked`,
    );
  const [interp, second] = program.of(PT_INTERP);
  if (interp === undefined)
    throw new StaticElfError(
      "no_interpreter",
      `${name} has no interpreter, so it is already static`,
    );
  if (second !== undefined)
    throw new StaticElfError("malformed", `${name} has more than one interpreter`);
  return interp;
}

/** Whether its entry point is in a segment with our stub's parameters. */
function isLinked(program: Elf): boolean {
  const { entry, bytes } = program;
  const start = program
    .of(PT_LOAD)
    .find((s) => entry >= s.address && entry < s.address + s.fileBytes);
  if (start === undefined || program.of(PT_INTERP).length > 0) return false;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start.offset, start.fileBytes).includes(
    MAGIC,
  );
}

/** Checks the addresses. The stub must be below all segments, because the kernel requires PT_LOADs in order of address. */
function checkRoom(program: Elf, stub: Stub): void {
  if (stub.machine !== program.machine)
    throw new StaticElfError(
      "layout",
      `${program.name} is for ${program.machine}, but the stub is for ${stub.machine}`,
    );
  const loads = program.of(PT_LOAD);
  const interp = program.of(PT_INTERP)[0]!;
  const lowest = Math.min(...loads.map((s) => s.address));
  if (stub.address + STUB_ROOM > lowest || loads.some((s) => s.index < interp.index))
    throw new StaticElfError(
      "layout",
      `${program.name} has no room for the stub below its first segment`,
    );
}

/** Checks the limits of loader.c, so that the linked file cannot fail at its start. */
function checkLimits(program: Elf, set: LibrarySet): void {
  const fail = (message: string): never => {
    throw new StaticElfError("layout", `${program.name} ${message}`);
  };
  const dynamic = program.dynamic();
  if (dynamic === undefined) return fail("has no dynamic section");
  if (dynamic.hasPreinit) fail("has a DT_PREINIT_ARRAY, which the stub needs for itself");
  if (set.libraries.length > LIBRARIES_MAX) fail(`needs more than ${LIBRARIES_MAX} libraries`);
  if (program.segments.length > PHDRS_MAX) fail(`has more than ${PHDRS_MAX} program headers`);
  if (dynamic.count + set.libraries.length > DYNAMIC_MAX)
    fail(`has more than ${DYNAMIC_MAX} dynamic entries`);
  for (const { path, bytes } of [set.ldso, ...set.libraries]) {
    const { segments } = new Elf(path, bytes);
    if (segments.length > LDSO_PHDRS_MAX) fail(`needs ${path}, which has too many segments`);
    // The stub maps segments from their file offsets, so these must be aligned for every page size of the processor.
    const step = program.machine === "aarch64" ? ALIGN : PAGE_BYTES;
    if (segments.some((s) => s.type === PT_LOAD && (s.address - s.offset) % step !== 0))
      fail(`needs ${path}, whose segments are not aligned to ${step} bytes`);
  }
}

function assemble(program: Elf, interpIndex: number, stub: Stub, set: LibrarySet): Linked {
  const parts: Part[] = [];
  let end = program.bytes.length;
  const place = (name: string, bytes: number): Part => {
    const part = { name, offset: Math.ceil(end / ALIGN) * ALIGN, bytes };
    end = part.offset + bytes;
    parts.push(part);
    return part;
  };
  const stubPart = place("stub", stub.bytes.length);
  const ldsoPart = place(set.ldso.name, set.ldso.bytes.length);
  const libraryParts = set.libraries.map((l) => ({ ...place(l.name, l.bytes.length), library: l }));

  const out = new Uint8Array(end);
  out.set(program.bytes);
  out.set(withParams(program, stub, ldsoPart, libraryParts), stubPart.offset);
  out.set(set.ldso.bytes, ldsoPart.offset);
  for (const { offset, library } of libraryParts) out.set(library.bytes, offset);

  const view = new DataView(out.buffer);
  view.setBigUint64(24, BigInt(stub.entry), true);
  const at = program.phdrOffset + interpIndex * PHDR_BYTES;
  view.setUint32(at, PT_LOAD, true);
  view.setUint32(at + 4, PF_R | PF_X, true);
  const address = BigInt(stub.address);
  const size = BigInt(stub.bytes.length);
  for (const [i, value] of [BigInt(stubPart.offset), address, address, size, size].entries())
    view.setBigUint64(at + 8 + i * 8, value, true);
  view.setBigUint64(at + 48, BigInt(ALIGN), true);
  return { bytes: out, parts };
}

/** A copy of the stub with its `struct params` (loader.c) filled in. */
function withParams(
  program: Elf,
  stub: Stub,
  ldso: Part,
  libraries: readonly (Part & { library: Library })[],
): Uint8Array {
  const bytes = stub.bytes.slice();
  const at = Buffer.from(bytes.buffer).indexOf(MAGIC);
  const dynamic = program.dynamic();
  if (at < 0 || dynamic === undefined)
    throw new StaticElfError("layout", "the stub has no parameters");
  const phdr = program
    .of(PT_LOAD)
    .find((s) => s.offset <= program.phdrOffset && program.phdrOffset < s.offset + s.fileBytes);
  if (phdr === undefined)
    throw new StaticElfError("layout", `${program.name} does not map its program headers`);
  const words = [
    program.entry,
    phdr.address + program.phdrOffset - phdr.offset,
    program.segments.length,
    dynamic.address,
    dynamic.count,
    dynamic.strtabAddress,
    ldso.offset,
    libraries.length,
  ];
  const view = new DataView(bytes.buffer);
  const head = at + MAGIC.length;
  for (const [i, word] of words.entries()) view.setBigUint64(head + i * 8, BigInt(word), true);
  for (const [i, { offset, library }] of libraries.entries()) {
    const entry = head + PARAMS_HEAD_WORDS * 8 + i * (16 + NAME_BYTES);
    view.setBigUint64(entry, BigInt(offset), true);
    view.setBigUint64(entry + 8, BigInt(library.bytes.length), true);
    bytes.set(new TextEncoder().encode(library.name.slice(0, NAME_BYTES - 1)), entry + 16);
  }
  return bytes;
}
