/** Where interpreters are looked for: the image's PATH, then the usual directories, then an interpreter's own. (A4) */
import { statSync } from "node:fs";
import { fileId, inspectExecutable } from "./inspect-executable.ts";
import type { Inspection } from "./inspect-executable.ts";
import type { Interpreter } from "./interpreters.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** A file that is there, usable or not. */
export type Candidate = Exclude<Inspection, { at: "absent" }>;

export interface SearchPath {
  /** Existing directories, absolute, each once whatever links lead to it, in order. */
  readonly dirs: readonly string[];
  /** Of the image; for the variables that name installations (JAVA_HOME). */
  readonly env: Environment;
  /** Nothing beyond PATH is searched. */
  readonly pathOnly: boolean;
}

/** The search path of an image that has none. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Directories of PATH beyond these are not searched. */
const PATH_DIRS_MAX = 64;

/** PATH as it applies: a blank one counts as absent. */
export function effectivePath(env: Environment): string {
  return env["PATH"] === undefined || env["PATH"].trim() === "" ? DEFAULT_PATH : env["PATH"];
}

/**
 * PATH, then the usual directories unless `pathOnly`.
 * Relative and empty entries are left out: what they mean depends on where the agent was started.
 */
export function searchPath(env: Environment, pathOnly: boolean): SearchPath {
  const seen = new Set<string>();
  const dirs: string[] = [];
  const onPath = effectivePath(env).split(":").slice(0, PATH_DIRS_MAX);
  for (const dir of pathOnly ? onPath : [...onPath, ...DEFAULT_PATH.split(":")]) {
    if (!dir.startsWith("/")) continue;
    const id = dirId(dir);
    if (id === undefined || seen.has(id)) continue;
    seen.add(id);
    dirs.push(dir);
  }
  return { dirs, env, pathOnly };
}

/**
 * Every file that may be this interpreter, best first: all directories for its first name, then for the next.
 * Lazy, so that in the usual case no more is looked at than needed; a file reached by two names comes once.
 * `hostArch` is `process.arch`.
 */
export function* findCandidates(
  interpreter: Interpreter,
  search: SearchPath,
  hostArch: string,
): Generator<Candidate, void> {
  const seen = new Set<string>();
  for (const path of candidatePaths(interpreter, search)) {
    if (seen.has(path)) continue;
    seen.add(path);
    const inspection = inspectExecutable(path, hostArch);
    if (inspection.at === "absent") continue;
    const realPath =
      inspection.at === "viable" ? inspection.executable.realPath : inspection.rejection.real_path;
    if (realPath !== null && realPath !== path) {
      if (seen.has(realPath)) continue;
      seen.add(realPath);
    }
    yield inspection;
  }
}

function* candidatePaths(interpreter: Interpreter, search: SearchPath): Generator<string, void> {
  const own = search.pathOnly ? [] : ownDirs(interpreter, search);
  for (const candidate of interpreter.candidates) {
    if (candidate.startsWith("/")) yield candidate;
    if (candidate.includes("/")) continue;
    for (const dir of search.dirs) yield join(dir, candidate);
    for (const dir of own) yield join(dir, candidate);
  }
}

function ownDirs({ homes = [], dirs = [] }: Interpreter, search: SearchPath): string[] {
  const ofHomes = homes.flatMap(({ variable, bin }) => {
    const home = search.env[variable];
    return home?.startsWith("/") ? [bin === "" ? home : join(home, bin)] : [];
  });
  return [...ofHomes, ...dirs].filter(
    (dir) => !search.dirs.includes(dir) && dirId(dir) !== undefined,
  );
}

function join(dir: string, file: string): string {
  return dir.endsWith("/") ? dir + file : `${dir}/${file}`;
}

function dirId(dir: string): string | undefined {
  try {
    const stat = statSync(dir, { throwIfNoEntry: false });
    return stat?.isDirectory() ? fileId(stat) : undefined;
  } catch {
    return undefined;
  }
}
