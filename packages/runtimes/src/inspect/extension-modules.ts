/** Finds compiled modules (`*.so`) of an environment that its interpreter can't load, by the tags in their names. Nothing is opened. (A9) */
import type { Libc } from "../image-report.ts";
import type { FileObserver } from "./file-observer.ts";

/** What will load them. */
export interface Loader {
  /** `3.12`. */
  readonly short: string;
  readonly arch: string | null;
  readonly libc: Libc | null;
}

export interface Unfit {
  readonly file: string;
  readonly reason: string;
}

/** Directories looked into, those nearest the top first; beyond them nothing is known. */
const DIRS_MAX = 256;

/** From CPython 3.11 on a module for musl says so; before, it may bear glibc's tag. */
const MUSL_TAG_SINCE_MINOR = 11;

/** Name, implementation tag, machine, system: `_x.cpython-312-x86_64-linux-gnu.so`, `_x.pypy39-pp73-x86_64-linux-gnu.so`. */
const TAGGED =
  /^(.+?)\.(cpython-(\d)(\d+)t?|pypy(\d)(\d+)-[^-]+)-(.+)-linux-(gnu|musl)[a-z0-9]*\.so$/;

/** The first that doesn't fit and has no brother of the same name that does. */
export function unfitExtension(
  site: string,
  loader: Loader,
  observer: FileObserver,
): Unfit | undefined {
  const queue = [site];
  for (let index = 0; index < queue.length && index < DIRS_MAX; index++) {
    const dir = queue[index] ?? site;
    const fits = new Set<string>();
    const unfit: (Unfit & { readonly module: string })[] = [];
    for (const name of observer.list(dir)) {
      // A directory of modules has a name without a dot; not asking each file keeps this quick.
      if (!name.includes(".") && name !== "__pycache__" && queue.length < DIRS_MAX * 4)
        queue.push(`${dir}/${name}`);
      const tags = TAGGED.exec(name);
      if (tags === null) continue;
      const module = tags[1] ?? name;
      const reason = misfit(tags, loader);
      if (reason === undefined) fits.add(module);
      else unfit.push({ file: `${dir}/${name}`, reason, module });
    }
    const first = unfit.find(({ module }) => !fits.has(module));
    if (first !== undefined) return first;
  }
  return undefined;
}

function misfit(tags: RegExpExecArray, { short, arch, libc }: Loader): string | undefined {
  const version = `${tags[3] ?? tags[5]}.${tags[4] ?? tags[6]}`;
  const [, , , , , , , machine = "", system = ""] = tags;
  if (version !== short) return `which is for python ${version}; its python is ${short} here`;
  if (arch !== null && machineOf(machine) !== arch)
    return `which is for ${machineOf(machine)}; its python is for ${arch} here`;
  const madeFor = system === "musl" ? "musl" : "glibc";
  if (libc !== "glibc" && libc !== "musl") return undefined;
  if (libc === "musl" && madeFor === "glibc" && Number(short.split(".")[1]) < MUSL_TAG_SINCE_MINOR)
    return undefined;
  return madeFor === libc ? undefined : `which is for ${madeFor}; its python is for ${libc} here`;
}

/** Debian's names of machines in `uname -m` terms. */
function machineOf(tag: string): string {
  return { i386: "i686", arm: "arm", powerpc64le: "ppc64le" }[tag] ?? tag;
}
