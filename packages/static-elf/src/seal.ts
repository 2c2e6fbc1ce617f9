/**
 * Closes the ways by which ld.so and glibc take code from files of the image they run in: the preload list, the cache, the
 * system directories searched when something is opened at run time (NSS modules above all), and gconv's. Only what is
 * appended to the program is left to be found.
 */
import { StaticElfError } from "./errors.ts";
import type { Library } from "./libraries.ts";

/** A path as it stands in a file, and what is put over its beginning, with a NUL after it. */
interface Path {
  readonly pattern: RegExp;
  readonly instead: string;
}

/** What every glibc's ld.so holds. */
const LDSO_PATHS: readonly Path[] = [
  // No file has an empty name.
  { pattern: /\/etc\/ld\.so\.preload(?=\0)/g, instead: "" },
  { pattern: /\/etc\/ld\.so\.cache(?=\0)/g, instead: "" },
  // The system directories, one after the other, each ending with a slash. ld.so insists on one at the beginning and adds a
  // name behind the NUL: whatever is looked up is `/`, which is no library.
  { pattern: /(?<=\0)\/(?:usr\/)?lib(?:64)?\/(?:[a-z0-9_-]+\/)?(?=\0)/g, instead: "/" },
];

/** What libc holds: where converters of character sets are, which are libraries, and the list of them. */
const LIBC_PATHS: readonly Path[] = [
  {
    pattern: /\/usr\/lib(?:64)?\/(?:[a-z0-9_-]+\/)?gconv(?:\/gconv-modules\.cache)?(?=\0)/g,
    // Nothing lies below a file; libc asserts that there is a path.
    instead: "/proc/self/exe",
  },
];

/** ld.so with its paths made unopenable. Throws `library_unexpected` when it lacks one: it is not what we take it for. */
export function sealLdso(ldso: Library): Library {
  return seal(ldso, LDSO_PATHS);
}

/** The same for a library that programs name; only libc changes. */
export function sealLibrary(library: Library): Library {
  return library.name === "libc.so.6" ? seal(library, LIBC_PATHS) : library;
}

function seal(library: Library, paths: readonly Path[]): Library {
  const bytes = library.bytes.slice();
  const text = Buffer.from(bytes.buffer).toString("latin1");
  for (const { pattern, instead } of paths) {
    let found = 0;
    for (const match of text.matchAll(pattern)) {
      found++;
      bytes.set(Buffer.from(`${instead}\0`), match.index);
    }
    if (found === 0)
      throw new StaticElfError(
        "library_unexpected",
        `${library.path} does not hold ${pattern.source}`,
      );
  }
  return { ...library, bytes };
}
