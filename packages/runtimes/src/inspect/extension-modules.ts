/** Finds compiled Python modules that an environment's interpreter can't load, by the tags in their names. Opens no file. (A9) */
import type { Libc } from "../image-report.ts";
import type { FileObserver } from "./file-observer.ts";

/** The interpreter that loads the modules. */
export interface ModuleLoader {
  /** `3.12`. */
  readonly minorVersion: string;
  readonly arch: string | null;
  readonly libc: Libc | null;
}

export interface IncompatibleModule {
  readonly file: string;
  readonly reason: string;
}

/** Directories searched, breadth first. Modules in further ones are not checked. */
const DIRS_MAX = 256;

/** Since CPython 3.11 a module built for musl has its own tag; before, it may have glibc's. */
const MUSL_TAG_SINCE_MINOR = 11;

/** Name, implementation tag, machine, C library: `_x.cpython-312-x86_64-linux-gnu.so`, `_x.pypy39-pp73-x86_64-linux-gnu.so`. */
const TAGGED =
  /^(.+?)\.(cpython-(\d)(\d+)t?|pypy(\d)(\d+)-[^-]+)-(.+)-linux-(gnu|musl)[a-z0-9]*\.so$/;

/** The first incompatible module without a compatible build in the same directory. */
export function findIncompatibleModule(
  site: string,
  loader: ModuleLoader,
  observer: FileObserver,
): IncompatibleModule | undefined {
  const queue = [site];
  for (let index = 0; index < queue.length && index < DIRS_MAX; index++) {
    const dir = queue[index] ?? site;
    const compatible = new Set<string>();
    const incompatible: (IncompatibleModule & { readonly module: string })[] = [];
    for (const name of observer.list(dir)) {
      // A name without a dot may be a directory of modules. Other names are not observed, which keeps this fast.
      if (!name.includes(".") && name !== "__pycache__" && queue.length < DIRS_MAX * 4)
        queue.push(`${dir}/${name}`);
      const tags = TAGGED.exec(name);
      if (tags === null) continue;
      const module = tags[1] ?? name;
      const reason = incompatibility(tags, loader);
      if (reason === undefined) compatible.add(module);
      else incompatible.push({ file: `${dir}/${name}`, reason, module });
    }
    const first = incompatible.find(({ module }) => !compatible.has(module));
    if (first !== undefined) return first;
  }
  return undefined;
}

function incompatibility(
  tags: RegExpExecArray,
  { minorVersion, arch, libc }: ModuleLoader,
): string | undefined {
  const version = `${tags[3] ?? tags[5]}.${tags[4] ?? tags[6]}`;
  const [, , , , , , , machine = "", system = ""] = tags;
  if (version !== minorVersion)
    return `which is for python ${version}, but its python is ${minorVersion} here`;
  if (arch !== null && machineOf(machine) !== arch)
    return `which is for ${machineOf(machine)}, but its python is for ${arch} here`;
  const moduleLibc = system === "musl" ? "musl" : "glibc";
  if (moduleLibc === libc || (libc !== "glibc" && libc !== "musl")) return undefined;
  if (libc === "musl" && Number(minorVersion.split(".")[1]) < MUSL_TAG_SINCE_MINOR)
    return undefined;
  return `which is for ${moduleLibc}, but its python is for ${libc} here`;
}

/** Converts a machine name from a tag (Debian's multiarch names) to that of `uname -m`. */
function machineOf(tag: string): string {
  return { i386: "i686", arm: "arm", powerpc64le: "ppc64le" }[tag] ?? tag;
}
