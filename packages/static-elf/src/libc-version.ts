/** Reads the version of the glibc that a static binary contains, from glibc's own banner. */
import type { Elf } from "./elf.ts";
import { StaticElfError } from "./errors.ts";
import { findLibrary, libraryDirs } from "./libraries.ts";

const BANNER = /GNU C Library \(([^)]+)\)/;

/** The version of the libc that `linkStatic` would append for this processor, such as "Debian GLIBC 2.36-9+deb12u14". */
export function glibcVersion(
  machine: Elf["machine"],
  dirs: readonly string[] = libraryDirs(machine),
): string {
  const libc = findLibrary("libc.so.6", machine, dirs);
  const found = BANNER.exec(Buffer.from(libc.bytes.buffer).toString("latin1"))?.[1];
  if (found === undefined)
    throw new StaticElfError("library_unexpected", `${libc.path} does not contain its version`);
  return found;
}
