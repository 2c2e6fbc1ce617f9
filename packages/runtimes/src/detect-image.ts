/**
 * Finds out what the image this process runs in can run. Called once at the agent's start, before anything else, and by `--detect-only`.
 * It always gives a report: a broken interpreter, image or file is something to tell, never a failure. (A4, A7, A9)
 */
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { type CacheOptions, readCache, writeCache } from "./cache/detection-cache.ts";
import { Limiter } from "./probe/limiter.ts";
import { imageFacts } from "./image/image-facts.ts";
import type { Evidence, Findings, ImageReport, InterpreterReport } from "./image-report.ts";
import { fileId } from "./inspect/inspect-executable.ts";
import {
  type CustomInterpreter,
  fromCustom,
  type Interpreter,
  INTERPRETERS,
} from "./probe/interpreters.ts";
import { Investigation, type InvestigationContext } from "./probe/investigation.ts";
import { type Environment, FileObserver } from "./inspect/file-observer.ts";
import { lookAtDatabases } from "./image/package-databases.ts";
import { findPackageManagers } from "./image/package-managers.ts";
import { printable } from "./inspect/printable.ts";
import { type ProbeClock, type SpawnProbe, spawnProbe } from "./probe/run-probe.ts";
import { namesReader, type SearchPath, searchPath } from "./probe/search-path.ts";
import { findVirtualEnvironments } from "./image/virtual-environments.ts";

export interface DetectOptions {
  /** The image's environment: PATH, FLEET_RUNTIME_ENVS_DIR, JAVA_HOME and the like are read from it. Nothing of it reaches a probe but PATH, and LD_LIBRARY_PATH where nothing works without. */
  readonly env: Environment;
  readonly clock: ProbeClock;
  /** The config file's `interpreters:`. */
  readonly interpreters?: readonly CustomInterpreter[] | undefined;
  /** Leaves out the usual directories and each interpreter's own: only PATH is searched. */
  readonly pathOnly?: boolean;
  /** How long a version command may take. Default PROBE_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  /** Version commands at a time, those under way for more than HOLD_MS not counted. Default: one for each CPU, at least two. */
  readonly probesMax?: number;
  /** The agent's own executable, which is never taken for an interpreter. Default `process.execPath`. */
  readonly selfPath?: string;
  readonly spawn?: SpawnProbe;
  /** Where an earlier result may lie, and this one is kept. */
  readonly cache?: CacheOptions | undefined;
}

export const PROBE_TIMEOUT_MS = 2000;

/**
 * The slowest version command takes about this long when it is left alone, which decides how long all of it takes: the others are
 * done one after the other beside it. What takes longer hangs, and is not waited for.
 */
const HOLD_MS = 250;

/**
 * See the file comment. Takes about as long as the slowest version command, or next to nothing with a cache. An interpreter of which
 * every candidate hangs costs two timeouts, side by side with the others.
 */
export async function detectImage(options: DetectOptions): Promise<ImageReport> {
  const { env, clock, cache } = options;
  const startedMs = clock.monotonicMs();
  const question = {
    interpreters: options.interpreters ?? [],
    pathOnly: options.pathOnly ?? false,
    timeoutMs: options.timeoutMs ?? PROBE_TIMEOUT_MS,
  };
  const selves = selfIds(options.selfPath ?? process.execPath);
  const isSelf = (path: string): boolean => selves.has(idOf(path) ?? "");
  let findings = cache === undefined ? undefined : readCache(cache, question, env, isSelf);
  const observer = new FileObserver(env, clock.nowMs());
  const search = searchPath(observer, question.pathOnly);
  const finding =
    findings === undefined ? lookAround(options, observer, search, selves) : undefined;
  // Read while the version commands run.
  const image = imageFacts(search.path);
  if (finding !== undefined) {
    findings = await finding;
    if (cache !== undefined && observer.isRepeatable)
      writeCache(cache, question, observer.seen, findings);
  }
  return {
    schema: 1,
    took_ms: Math.round((clock.monotonicMs() - startedMs) * 10) / 10,
    cached: finding === undefined,
    ...findings!,
    image,
  };
}

/** The runtimes that work, in the order of the report; the lowest of the three tiers. (A5) */
export function detectedRuntimes(report: ImageReport): string[] {
  return report.interpreters
    .filter((interpreter) => interpreter.verdict === "ok")
    .map((interpreter) => interpreter.name);
}

async function lookAround(
  options: DetectOptions,
  observer: FileObserver,
  search: SearchPath,
  selves: ReadonlySet<string>,
): Promise<Findings> {
  const { clock } = options;
  const lookedAtMs = clock.nowMs();
  const { table, broken } = interpreterTable(options.interpreters ?? []);
  const context: InvestigationContext = {
    observer,
    search,
    table,
    clock,
    spawn: options.spawn ?? spawnProbe,
    timeoutMs: options.timeoutMs ?? PROBE_TIMEOUT_MS,
    limiter: new Limiter(options.probesMax ?? Math.max(2, availableParallelism()), HOLD_MS, clock),
    path: search.path,
    home: search.home,
    hostArch: process.arch,
    selfIds: selves,
  };
  const investigations = new Map(
    table
      .toSorted((a, b) => (b.slowness ?? 0) - (a.slowness ?? 0))
      .map((interpreter) => [interpreter.name, new Investigation(interpreter, context)]),
  );
  // The slow ones are running before anything else is looked at.
  for (const investigation of investigations.values()) investigation.begin();
  const names = namesReader(table, observer);
  const finishing = [...investigations.values()].map((investigation) =>
    investigation.finish(names),
  );
  const python = table.find(({ name }) => name === "python");
  const environments = findVirtualEnvironments(python, context);
  const packageManagers = findPackageManagers(search.dirs, observer);
  lookAtDatabases(observer);

  const found = new Map<string, InterpreterReport>();
  for (const report of [...broken, ...(await Promise.all(finishing))]) {
    if (report !== undefined) found.set(report.name, report);
  }
  const order = [...table.map(({ name }) => name), ...broken.map(({ name }) => name)];
  const evidence: Record<string, readonly Evidence[]> = {};
  for (const name of order) evidence[name] = investigations.get(name)?.evidenceLog.steps ?? [];
  return {
    looked_at_ms: lookedAtMs,
    interpreters: order.flatMap((name) => found.get(name) ?? []),
    absent: order.filter((name) => !found.has(name)),
    package_managers: packageManagers,
    environments: await environments,
    evidence,
  };
}

/** The built-in table with the config's interpreters put in. One whose pattern can't be used is broken from the start. */
function interpreterTable(custom: readonly CustomInterpreter[]): {
  table: Interpreter[];
  broken: InterpreterReport[];
} {
  const table = new Map<string, Interpreter>(
    INTERPRETERS.map((interpreter) => [interpreter.name, interpreter]),
  );
  const broken: InterpreterReport[] = [];
  for (const one of custom) {
    try {
      table.set(one.name, fromCustom(one));
    } catch (error) {
      table.delete(one.name);
      const reason = printable(
        `has a pattern that is no regular expression: ${error instanceof Error ? error.message : String(error)}`,
        300,
      );
      broken.push({
        verdict: "broken",
        name: one.name,
        rejected: [
          { path: one.candidates[0] ?? one.name, real_path: null, code: "bad_pattern", reason },
        ],
      });
    }
  }
  return { table: [...table.values()], broken };
}

/** By file, not by path, so that a link or a second name does not hide it. */
function selfIds(selfPath: string): Set<string> {
  return new Set([selfPath, "/proc/self/exe"].flatMap((path) => idOf(path) ?? []));
}

/** Undefined without /proc, or when there is nothing (any more). */
function idOf(path: string): string | undefined {
  try {
    return fileId(statSync(path, { bigint: true }));
  } catch {
    return undefined;
  }
}
