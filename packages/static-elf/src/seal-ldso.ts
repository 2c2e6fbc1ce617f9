/**
 * Closes the ways by which ld.so takes files of the image it runs in: the preload list, the cache, and the system
 * directories it searches when something is opened at run time. Only what is appended to the program is left to be found.
 */
import { StaticElfError } from "./errors.ts";
import type { Library } from "./libraries.ts";

/**
 * What every glibc's ld.so holds, and which byte of it becomes NUL: a file's first, so that its name is empty (ENOENT); the
 * one after a directory's leading slash, on which ld.so insists, so that whatever is looked up there is `/` itself, which
 * is no library (EISDIR).
 */
const PATHS: readonly { readonly pattern: RegExp; readonly cutAt: number }[] = [
  { pattern: /\/etc\/ld\.so\.preload\0/g, cutAt: 0 },
  { pattern: /\/etc\/ld\.so\.cache\0/g, cutAt: 0 },
  // The list of system directories: one after the other, each ending with a slash.
  { pattern: /(?<=\0)\/(?:usr\/)?lib(?:64)?\/(?:[a-z0-9_-]+\/)?(?=\0)/g, cutAt: 1 },
];

/** The library with these paths made unopenable. Throws `library_unexpected` when it lacks one: it is not what we take it for. */
export function sealLdso(ldso: Library): Library {
  const bytes = ldso.bytes.slice();
  const text = Buffer.from(bytes.buffer).toString("latin1");
  for (const { pattern, cutAt } of PATHS) {
    let found = 0;
    for (const match of text.matchAll(pattern)) {
      found++;
      bytes[match.index + cutAt] = 0;
    }
    if (found === 0)
      throw new StaticElfError(
        "library_unexpected",
        `${ldso.path} does not hold ${pattern.source}`,
      );
  }
  return { ...ldso, bytes };
}
