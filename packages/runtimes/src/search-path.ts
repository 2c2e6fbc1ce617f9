/** Where interpreters are looked for: the image's PATH, then the usual directories, then an interpreter's own. (A4) */
import { statSync } from "node:fs";
import { fileId, inspectExecutable } from "./inspect-executable.ts";
import type { Inspection } from "./inspect-executable.ts";
import type { Interpreter } from "./interpreters.ts";

/** A file that is there, usable or not. */
export type Candidate = Exclude<Inspection, { at: "absent" }>;

export type Environment = Readonly<Record<string, string | undefined>>;

/** The search path of an image that has none. */
export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Directories of PATH beyond these are not searched. */
const PATH_DIRS_MAX = 64;

/** PATH as it applies: a blank one counts as absent. */
export function effectivePath(env: Environment): string {
  return env["PATH"] === undefined || env["PATH"].trim() === "" ? DEFAULT_PATH : env["PATH"];
}

/**
 * The existing directories of PATH and the usual ones, each once whatever links lead to it, in order.
 * Relative and empty entries are left out: what they mean depends on where the agent was started.
 */
export function searchDirs(env: Environment): string[] {
  const seen = new Set<string>();
  const dirs: string[] = [];
  const onPath = effectivePath(env).split(":").slice(0, PATH_DIRS_MAX);
  for (const dir of [...onPath, ...DEFAULT_PATH.split(":")]) {
    if (!dir.startsWith("/")) continue;
    const id = dirId(dir);
    if (id === undefined || seen.has(id)) continue;
    seen.add(id);
    dirs.push(dir);
  }
  return dirs;
}

/**
 * Every file that may be this interpreter, best first: all directories for its first name, then for the next.
 * Lazy, so that in the usual case no more is looked at than needed; a file reached by two names comes once.
 */
export function* findCandidates(
  interpreter: Interpreter,
  dirs: readonly string[],
  env: Environment,
  hostArch: string,
): Generator<Candidate, void> {
  const seen = new Set<string>();
  for (const path of candidatePaths(interpreter, dirs, env)) {
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

function* candidatePaths(
  interpreter: Interpreter,
  dirs: readonly string[],
  env: Environment,
): Generator<string> {
  const own = [...homeDirs(interpreter, env), ...(interpreter.dirs ?? [])].filter(
    (dir) => !dirs.includes(dir) && dirId(dir) !== undefined,
  );
  for (const candidate of interpreter.candidates) {
    if (candidate.startsWith("/")) yield candidate;
    if (candidate.includes("/")) continue;
    for (const dir of dirs) yield join(dir, candidate);
    for (const dir of own) yield join(dir, candidate);
  }
}

function homeDirs(interpreter: Interpreter, env: Environment): string[] {
  return (interpreter.homes ?? []).flatMap(({ variable, bin }) => {
    const home = env[variable];
    return home?.startsWith("/") ? [bin === "" ? home : join(home, bin)] : [];
  });
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
