/** Finds glibc's loader and the libraries a program needs, of the target's processor. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Elf, type Machine } from "./elf.ts";
import { StaticElfError, type StaticElfCode } from "./errors.ts";

/** ld.so's name on each machine. */
const LDSO: Readonly<Record<Machine, string>> = {
  x86_64: "ld-linux-x86-64.so.2",
  aarch64: "ld-linux-aarch64.so.1",
};

/** What no program names and glibc opens itself, to end a thread (pthread_exit) or to unwind a stack (backtrace). */
const LIBGCC = "libgcc_s.so.1";

/** Where distributions keep 64-bit glibc, native and for cross compilers (Debian's libc6-ARCH-cross). */
export function libraryDirs(machine: Machine): readonly string[] {
  const triple = `${machine}-linux-gnu`;
  return [`/lib/${triple}`, `/usr/lib/${triple}`, `/usr/${triple}/lib`, "/lib64", "/usr/lib64"];
}

/** What a library of another processor may be found to be; a linker script is not_elf. */
const FOREIGN: ReadonlySet<StaticElfCode> = new Set([
  "not_elf",
  "not_64_bit",
  "big_endian",
  "unsupported_machine",
]);

/** A library by the name programs need it under. */
export interface Library {
  readonly name: string;
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** glibc as one program needs it. */
export interface LibrarySet {
  readonly ldso: Library;
  /** Without ld.so itself; each after those that need it. */
  readonly libraries: readonly Library[];
}

/**
 * What `program` needs, and what that needs, from `dirs`. Throws `not_glibc` for a program of another libc,
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
      `${program.name} is loaded by ${interpreter}, not by glibc's ${ldsoName}`,
    );
  const libraries: Library[] = [];
  const seen = new Set([ldsoName]);
  const waiting = [...(program.dynamic()?.needed ?? []), LIBGCC];
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const library = findLibrary(name, program.machine, dirs);
    libraries.push(library);
    waiting.push(...(new Elf(library.path, library.bytes).dynamic()?.needed ?? []));
  }
  return { ldso: findLibrary(ldsoName, program.machine, dirs), libraries };
}

/**
 * One library for `machine` from the first of `dirs` that has it; what is there of another processor is passed over, as ld.so
 * does. Throws `library_missing`, `library_machine`, `library_unreadable`.
 */
export function findLibrary(name: string, machine: Machine, dirs: readonly string[]): Library {
  let foreign: string | undefined;
  for (const dir of dirs) {
    const path = join(dir, name);
    const bytes = readIfThere(path);
    if (bytes === undefined) continue;
    if (isFor(machine, path, bytes)) return { name, path, bytes };
    foreign ??= path;
  }
  if (foreign !== undefined)
    throw new StaticElfError("library_machine", `${foreign} is not a library for ${machine}`);
  throw new StaticElfError(
    "library_missing",
    `${name} for ${machine} is in none of ${dirs.join(", ")} (Debian: libc6 and libgcc-s1, or libc6-arm64-cross and libgcc-s1-arm64-cross)`,
  );
}

function readIfThere(path: string): Uint8Array | undefined {
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
