/** Where interpreters are looked for: the image's PATH, then the usual directories, then where version managers and vendors install. (A4) */
import { fileId } from "../inspect/inspect-executable.ts";
import type { Interpreter } from "./interpreters.ts";
import type { FileObserver } from "../inspect/file-observer.ts";

export interface SearchPath {
  /** PATH as it applies. */
  readonly path: string;
  /** Existing directories, absolute, each once whatever links lead to it, in order. */
  readonly dirs: readonly string[];
  /** Nothing beyond PATH is searched. */
  readonly pathOnly: boolean;
  /** The user's home directory, which `~` stands for. */
  readonly home: string | undefined;
}

/** A file that may be an interpreter. */
export interface Place {
  readonly path: string;
  /** Its directory was looked at before. */
  readonly inKnownDir: boolean;
}

/** The search path of an image that has none. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Directories of PATH beyond these are not searched. */
const PATH_DIRS_MAX = 64;

/** Directories that one `*` stands for at most, newest version first. */
const STAR_MAX = 32;

/** A version-like name: only what has a digit can match an interpreter's `versioned`. */
const HAS_DIGIT = /\d/;

const HAS_DIGIT_FIRST = /^\d/;

/** PATH, then the usual directories unless `pathOnly`. Relative and empty entries are left out: what they mean depends on where the agent was started. */
export function searchPath(observer: FileObserver, pathOnly: boolean): SearchPath {
  const path = observer.variable("PATH") ?? DEFAULT_PATH;
  const seen = new Set<string>();
  const dirs: string[] = [];
  const onPath = path.split(":").slice(0, PATH_DIRS_MAX);
  for (const dir of pathOnly ? onPath : [...onPath, ...DEFAULT_PATH.split(":")]) {
    if (!dir.startsWith("/")) continue;
    const look = observer.at(dir);
    if (look.at !== "there" || !look.stat.isDirectory()) continue;
    const id = fileId(look.stat);
    if (seen.has(id)) continue;
    seen.add(id);
    dirs.push(dir);
  }
  return { path, dirs, pathOnly, home: pathOnly ? undefined : homeDir(observer) };
}

/** Every place an interpreter may be under one of its plain names, best first: all directories for the first name, then for the next. */
export function* plainPlaces(
  interpreter: Interpreter,
  search: SearchPath,
  observer: FileObserver,
): Generator<Place, void> {
  const own = search.pathOnly ? [] : ownDirs(interpreter, search, observer);
  const dirs = [...search.dirs, ...own];
  for (const candidate of interpreter.candidates) {
    if (candidate.startsWith("/")) yield { path: candidate, inKnownDir: false };
    if (candidate.includes("/")) continue;
    for (const dir of dirs)
      if (observer.mayHave(dir, candidate)) yield { path: join(dir, candidate), inKnownDir: true };
  }
}

/** Then those under a name with a version (`python3.12`), newest first in each directory, and the installations elsewhere. */
export function* otherPlaces(
  interpreter: Interpreter,
  search: SearchPath,
  observer: FileObserver,
  names: NamesIn,
): Generator<Place, void> {
  const { versioned, places = [], candidates } = interpreter;
  // A shim of a version says nothing of which versions there are.
  const dirs = versioned === undefined ? [] : search.dirs.filter((dir) => !isShimDir(dir));
  for (const dir of dirs) {
    const found = names(dir).filter((name) => versioned?.test(name));
    yield* found.map((name) => ({ path: join(dir, name), inKnownDir: true }));
  }
  if (search.pathOnly) return;
  const plain = candidates.filter((name) => !name.includes("/"));
  for (const pattern of places)
    for (const dir of expand(pattern, search, observer))
      yield* plain
        .filter((name) => observer.mayHave(dir, name))
        .map((name) => ({ path: join(dir, name), inKnownDir: true }));
}

/** The names in a directory that bear a version of some interpreter, newest first. */
export type NamesIn = (dir: string) => readonly string[];

/** Reads each directory once. */
export function namesReader(table: readonly Interpreter[], observer: FileObserver): NamesIn {
  const sources = table.flatMap(({ versioned }) => versioned?.source ?? []);
  // One pattern for all: there are thousands of names.
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

/** For `toSorted`: `3.12` before `3.9`; numbers by value, the rest as text. */
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

/** Directories that hold nothing but shims are called so by all version managers but Volta. */
export function isShimDir(dir: string): boolean {
  return /\/shims\/?$/.test(dir);
}

/** The directories an interpreter has of its own, beside the search path, that exist. */
export function ownDirs(
  { homes = [], dirs = [] }: Interpreter,
  search: SearchPath,
  observer: FileObserver,
): string[] {
  const ofHomes = homes.flatMap(({ variable, bin }) => {
    const home = observer.variable(variable);
    return home?.startsWith("/") ? [bin === "" ? home : join(home, bin)] : [];
  });
  return [...ofHomes, ...dirs].filter(
    (dir) => !search.dirs.includes(dir) && observer.isDirectory(dir),
  );
}

/** Existing directories of a pattern: `~` is the home directory, `$NAME` at its start a variable, `*` any part of a name. */
function expand(pattern: string, { home }: SearchPath, observer: FileObserver): string[] {
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
          // `3.13.5` before `pypy3.11-7.3` and `miniconda3-24.1`, which stand for something else than the language itself.
          .toSorted((a, b) => Number(!HAS_DIGIT_FIRST.test(a)) - Number(!HAS_DIGIT_FIRST.test(b)))
          .slice(0, STAR_MAX)
          .map((name) => `${dir}/${name}`),
      );
  }
  return dirs.filter((dir) => observer.isDirectory(dir));
}

/** HOME of the image, else what /etc/passwd has for our user: containers often come without the variable. */
function homeDir(observer: FileObserver): string | undefined {
  const named = observer.variable("HOME");
  if (named !== undefined) return named.startsWith("/") ? named : undefined;
  const uid = String(process.getuid?.() ?? -1);
  for (const line of (observer.text("/etc/passwd") ?? "").split("\n")) {
    const [, , id, , , home] = line.split(":");
    if (id === uid) return home?.startsWith("/") ? home : undefined;
  }
  return undefined;
}

function join(dir: string, file: string): string {
  return dir.endsWith("/") ? dir + file : `${dir}/${file}`;
}
