/** Finds glibc's loader and the libraries that a program needs, for the target processor. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Elf, type Machine } from "./elf.ts";
import { StaticElfError, type StaticElfCode } from "./errors.ts";

/** The file name of ld.so for each processor. */
const LDSO: Readonly<Record<Machine, string>> = {
  x86_64: "ld-linux-x86-64.so.2",
  aarch64: "ld-linux-aarch64.so.1",
};

/** Needed although no program names it: glibc opens it to end a thread (pthread_exit) or to unwind a stack (backtrace). */
const LIBGCC = "libgcc_s.so.1";

/** Directories of 64-bit glibc in the common distributions, native and for cross compilers (Debian's libc6-ARCH-cross). */
export function libraryDirs(machine: Machine): readonly string[] {
  const triple = `${machine}-linux-gnu`;
  return [`/lib/${triple}`, `/usr/lib/${triple}`, `/usr/${triple}/lib`, "/lib64", "/usr/lib64"];
}

/** Error codes for a library of another processor, or for a linker script (not_elf). */
const FOREIGN: ReadonlySet<StaticElfCode> = new Set([
  "not_elf",
  "not_64_bit",
  "big_endian",
  "unsupported_machine",
]);

/** A library, with the name by which programs refer to it. */
export interface Library {
  readonly name: string;
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** The libraries of one program. */
export interface LibrarySet {
  readonly ldso: Library;
  /** Without ld.so, in breadth-first order of their dependencies. */
  readonly libraries: readonly Library[];
}

/**
 * The libraries that `program` needs, directly or indirectly, from `dirs`. Throws `not_glibc` for a program of another libc,
 * `library_missing`, `library_machine`, `library_unreadable`.
 */
export function collectLibraries(
  program: Elf,
  interpreter: string,
  dirs: readonly string[] = libraryDirs(program.machine),
): LibrarySet {
  const ldsoName = LDSO[program.machine];
  if (basename(interpreter) !== ldsoName)
    throw new StaticElfError(
      "not_glibc",
      `${program.name} uses the loader ${interpreter}, not glibc's ${ldsoName}`,
    );
  const libraries: Library[] = [];
  const seen = new Set([ldsoName]);
  const queue = [...(program.dynamic()?.needed ?? []), LIBGCC];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const library = findLibrary(name, program.machine, dirs);
    libraries.push(library);
    queue.push(...(new Elf(library.path, library.bytes).dynamic()?.needed ?? []));
  }
  return { ldso: findLibrary(ldsoName, program.machine, dirs), libraries };
}

/**
 * The library for `machine` from the first of `dirs` that has it. Like ld.so, it skips libraries of other processors.
 * Throws `library_missing`, `library_machine`, `library_unreadable`.
 */
export function findLibrary(name: string, machine: Machine, dirs: readonly string[]): Library {
  let foreign: string | undefined;
  for (const dir of dirs) {
    const path = join(dir, name);
    const bytes = readIfExists(path);
    if (bytes === undefined) continue;
    if (isFor(machine, path, bytes)) return { name, path, bytes };
    foreign ??= path;
  }
  if (foreign !== undefined)
    throw new StaticElfError("library_machine", `${foreign} is not a library for ${machine}`);
  throw new StaticElfError(
    "library_missing",
    `${name} for ${machine} was not found in ${dirs.join(", ")} (Debian: install libc6 and libgcc-s1, or libc6-arm64-cross and libgcc-s1-arm64-cross)`,
  );
}

function readIfExists(path: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new StaticElfError("library_unreadable", `can't read ${path}: ${message}`, { cause });
  }
}

function isFor(machine: Machine, path: string, bytes: Uint8Array): boolean {
  try {
    return new Elf(path, bytes).machine === machine;
  } catch (error) {
    if (error instanceof StaticElfError && FOREIGN.has(error.code)) return false;
    throw error;
  }
}
