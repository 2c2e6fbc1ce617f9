/**
 * Prevents ld.so and glibc from loading code of the image: overwrites the paths of the preload list, the cache, the system
 * directories searched at run time (mainly for NSS modules), and the gconv modules. Only the libraries appended to the program
 * can be found.
 */
import { StaticElfError } from "./errors.ts";
import type { Library } from "./libraries.ts";

/** A path in a library, and the NUL-terminated text that overwrites its beginning. */
interface Path {
  readonly pattern: RegExp;
  readonly replacement: string;
}

/** Paths in ld.so. */
const LDSO_PATHS: readonly Path[] = [
  // Opening an empty path always fails.
  { pattern: /\/etc\/ld\.so\.preload(?=\0)/g, replacement: "" },
  { pattern: /\/etc\/ld\.so\.cache(?=\0)/g, replacement: "" },
  // The system directories, each of which ends with a slash. ld.so requires a leading slash and appends the library's name
  // behind the NUL, so every lookup opens `/`, which is not a library.
  { pattern: /(?<=\0)\/(?:usr\/)?lib(?:64)?\/(?:[a-z0-9_-]+\/)?(?=\0)/g, replacement: "/" },
];

/** Paths in libc: the directory of character set converters, which are libraries, and their list. */
const LIBC_PATHS: readonly Path[] = [
  {
    pattern: /\/usr\/lib(?:64)?\/(?:[a-z0-9_-]+\/)?gconv(?:\/gconv-modules\.cache)?(?=\0)/g,
    // libc asserts that the path is absolute. Nothing can be below a regular file.
    replacement: "/proc/self/exe",
  },
];

/** Returns ld.so with its paths overwritten. Throws `library_unexpected` if a path is missing, as in an unsupported version. */
export function sealLdso(ldso: Library): Library {
  return seal(ldso, LDSO_PATHS);
}

/** Like `sealLdso`, for the other libraries. Only libc is changed. */
export function sealLibrary(library: Library): Library {
  return library.name === "libc.so.6" ? seal(library, LIBC_PATHS) : library;
}

function seal(library: Library, paths: readonly Path[]): Library {
  const bytes = library.bytes.slice();
  const text = Buffer.from(bytes.buffer).toString("latin1");
  for (const { pattern, replacement } of paths) {
    let found = 0;
    for (const match of text.matchAll(pattern)) {
      found++;
      bytes.set(Buffer.from(`${replacement}\0`), match.index);
    }
    if (found === 0)
      throw new StaticElfError(
        "library_unexpected",
        `${library.path} does not contain ${pattern.source}`,
      );
  }
  return { ...library, bytes };
}
