/** The paths searched for interpreters: PATH, the default directories, then those of vendors and version managers. (A4) */
import { fileId } from "../inspect/inspect-executable.ts";
import type { Interpreter } from "./interpreters.ts";
import type { FileObserver } from "../inspect/file-observer.ts";

export interface SearchPath {
  /** PATH of the image, or the default. */
  readonly path: string;
  /** Existing absolute directories in search order. A directory with several paths is listed once. */
  readonly dirs: readonly string[];
  /** Whether only PATH is searched. */
  readonly pathOnly: boolean;
  /** The user's home directory, which `~` stands for. */
  readonly home: string | undefined;
}

/** A path that may be an interpreter. The file need not exist. */
export interface CandidatePath {
  readonly path: string;
  /** Whether its directory has been observed. */
  readonly isDirObserved: boolean;
}

/** Used when PATH is unset, and searched after PATH otherwise. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Directories of PATH that are searched. */
const PATH_DIRS_MAX = 64;

/** Directories that one `*` expands to, newest version first. */
const GLOB_MATCHES_MAX = 32;

/** Every name that matches a `versionedName` contains a digit. */
const HAS_DIGIT = /\d/;

const HAS_DIGIT_FIRST = /^\d/;

/** PATH, then the default directories unless `pathOnly`. Skips relative and empty entries: they depend on the working directory. */
export function searchPath(observer: FileObserver, pathOnly: boolean): SearchPath {
  const path = observer.variable("PATH") ?? DEFAULT_PATH;
  const seen = new Set<string>();
  const dirs: string[] = [];
  const onPath = path.split(":").slice(0, PATH_DIRS_MAX);
  for (const dir of pathOnly ? onPath : [...onPath, ...DEFAULT_PATH.split(":")]) {
    if (!dir.startsWith("/")) continue;
    const entry = observer.observe(dir);
    if (entry.at !== "present" || !entry.stat.isDirectory()) continue;
    const id = fileId(entry.stat);
    if (seen.has(id)) continue;
    seen.add(id);
    dirs.push(dir);
  }
  return { path, dirs, pathOnly, home: pathOnly ? undefined : homeDir(observer) };
}

/** The paths of an interpreter under its plain names, in order of preference: the first name in all directories, then the next name. */
export function* plainNamePaths(
  interpreter: Interpreter,
  search: SearchPath,
  observer: FileObserver,
): Generator<CandidatePath, void> {
  const own = search.pathOnly ? [] : interpreterDirs(interpreter, search, observer);
  const dirs = [...search.dirs, ...own];
  for (const candidate of interpreter.candidates) {
    if (candidate.startsWith("/")) yield { path: candidate, isDirObserved: false };
    if (candidate.includes("/")) continue;
    for (const dir of dirs)
      if (observer.mayContain(dir, candidate))
        yield { path: join(dir, candidate), isDirObserved: true };
  }
}

/** The paths under a versioned name (`python3.12`), newest first in each directory, then those in other installation directories. */
export function* otherPaths(
  interpreter: Interpreter,
  search: SearchPath,
  observer: FileObserver,
  names: VersionedNames,
): Generator<CandidatePath, void> {
  const { versionedName, installDirs = [], candidates } = interpreter;
  // A shim with a version in its name does not imply that this version is installed.
  const dirs = versionedName === undefined ? [] : search.dirs.filter((dir) => !isShimDir(dir));
  for (const dir of dirs) {
    const found = names(dir).filter((name) => versionedName?.test(name));
    yield* found.map((name) => ({ path: join(dir, name), isDirObserved: true }));
  }
  if (search.pathOnly) return;
  const plain = candidates.filter((name) => !name.includes("/"));
  for (const pattern of installDirs)
    for (const dir of expandPattern(pattern, search, observer))
      yield* plain
        .filter((name) => observer.mayContain(dir, name))
        .map((name) => ({ path: join(dir, name), isDirObserved: true }));
}

/** Lists the names in a directory that match the `versionedName` of any interpreter, newest first. */
export type VersionedNames = (dir: string) => readonly string[];

/** Filters and sorts each directory once. */
export function versionedNamesReader(
  table: readonly Interpreter[],
  observer: FileObserver,
): VersionedNames {
  const sources = table.flatMap(({ versionedName }) => versionedName?.source ?? []);
  // One combined pattern, because there are thousands of names.
  const pattern = new RegExp(sources.join("|") || "(?!)");
  const read = new Map<string, readonly string[]>();
  return (dir) => {
    const known = read.get(dir);
    if (known !== undefined) return known;
    const names = observer
      .list(dir)
      .filter((name) => HAS_DIGIT.test(name) && pattern.test(name))
      .toSorted(newestFirst);
    read.set(dir, names);
    return names;
  };
}

/** A comparator that puts `3.12` before `3.9`: compares numbers by value, the rest as text. */
export function newestFirst(a: string, b: string): number {
  const partsOfA = a.match(/\d+|\D+/g) ?? [];
  const partsOfB = b.match(/\d+|\D+/g) ?? [];
  for (const [index, ofB] of partsOfB.entries()) {
    const ofA = partsOfA[index] ?? "";
    if (ofA === ofB) continue;
    const difference = Number(ofB) - Number(ofA);
    return Number.isNaN(difference) || ofA === "" ? (ofB > ofA ? 1 : -1) : difference;
  }
  return partsOfB.length - partsOfA.length;
}

/** Whether a directory holds only shims. All version managers except Volta give it this name. */
function isShimDir(dir: string): boolean {
  return /\/shims\/?$/.test(dir);
}

/** The existing directories specific to an interpreter that are not on the search path. */
export function interpreterDirs(
  { homes = [], dirs = [] }: Interpreter,
  search: SearchPath,
  observer: FileObserver,
): string[] {
  const homeDirs = homes.flatMap(({ variable, bin }) => {
    const home = observer.variable(variable);
    return home?.startsWith("/") ? [bin === "" ? home : join(home, bin)] : [];
  });
  return [...homeDirs, ...dirs].filter(
    (dir) => !search.dirs.includes(dir) && observer.isDirectory(dir),
  );
}

/** The existing directories that match a pattern of `installDirs`. */
function expandPattern(pattern: string, { home }: SearchPath, observer: FileObserver): string[] {
  const [first = "", ...rest] = pattern.split("/");
  const start =
    first === "~" ? home : first.startsWith("$") ? observer.variable(first.slice(1)) : first;
  if (start === undefined || (first !== "" && !start.startsWith("/"))) return [];
  let dirs = [start.replace(/\/+$/, "")];
  for (const part of rest) {
    const [prefix = "", suffix] = part.split("*");
    if (suffix === undefined) dirs = dirs.map((dir) => `${dir}/${part}`);
    else
      dirs = dirs.flatMap((dir) =>
        observer
          .list(dir)
          .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
          .toSorted(newestFirst)
          // `3.13.5` before `pypy3.11-7.3` and `miniconda3-24.1`, which are other implementations or distributions.
          .toSorted((a, b) => Number(!HAS_DIGIT_FIRST.test(a)) - Number(!HAS_DIGIT_FIRST.test(b)))
          .slice(0, GLOB_MATCHES_MAX)
          .map((name) => `${dir}/${name}`),
      );
  }
  return dirs.filter((dir) => observer.isDirectory(dir));
}

/** HOME of the image, or the home directory in /etc/passwd: many containers do not set the variable. */
function homeDir(observer: FileObserver): string | undefined {
  const variable = observer.variable("HOME");
  if (variable !== undefined) return variable.startsWith("/") ? variable : undefined;
  const uid = String(process.getuid?.() ?? -1);
  for (const line of (observer.readText("/etc/passwd") ?? "").split("\n")) {
    const [, , id, , , home] = line.split(":");
    if (id === uid) return home?.startsWith("/") ? home : undefined;
  }
  return undefined;
}

function join(dir: string, file: string): string {
  return dir.endsWith("/") ? dir + file : `${dir}/${file}`;
}
