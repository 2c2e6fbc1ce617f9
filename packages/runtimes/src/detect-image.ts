/**
 * Detects the interpreters, package managers and Python environments of the image this process runs in. The agent calls it
 * first at every start, and for `--detect-only`. It always returns a report: a broken interpreter or file is a finding, not an
 * error. (A4, A7, A9)
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
import { observeDatabases } from "./image/package-databases.ts";
import { findPackageManagers } from "./image/package-managers.ts";
import { printable } from "./inspect/printable.ts";
import { type ProbeClock, type SpawnProbe, spawnProbe } from "./probe/run-probe.ts";
import { versionedNamesReader, type SearchPath, searchPath } from "./probe/search-path.ts";
import { findVirtualEnvironments } from "./image/virtual-environments.ts";

export interface DetectOptions {
  /**
   * The image's environment. Detection reads PATH, FLEET_RUNTIME_ENVS_DIR, JAVA_HOME and similar variables; version commands
   * inherit only PATH, and LD_LIBRARY_PATH when they fail without it.
   */
  readonly env: Environment;
  readonly clock: ProbeClock;
  /** The config file's `interpreters:`. */
  readonly interpreters?: readonly CustomInterpreter[] | undefined;
  /** Searches PATH only, not the default directories and not those of each interpreter. */
  readonly pathOnly?: boolean;
  /** Time limit of one version command. Default PROBE_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  /** Concurrent version commands, not counting those that have run for SLOT_MS. Default: the number of CPUs, at least two. */
  readonly probesMax?: number;
  /** The agent's own executable, which is never reported as an interpreter. Default `process.execPath`. */
  readonly selfPath?: string;
  readonly spawn?: SpawnProbe;
  /** The cache that may hold an earlier result and receives the new one. */
  readonly cache?: CacheOptions | undefined;
}

export const PROBE_TIMEOUT_MS = 2000;

/**
 * How long a version command occupies a slot. Even the slowest one takes about this long; one that takes longer probably hangs
 * and must not delay the others.
 */
const SLOT_MS = 250;

/**
 * Never rejects. Takes about as long as the slowest version command, or a few milliseconds when the cache is valid. Hanging
 * candidates cost at most two timeouts in total, since all interpreters are probed concurrently.
 */
export async function detectImage(options: DetectOptions): Promise<ImageReport> {
  const { env, clock, cache } = options;
  const startedMs = clock.monotonicMs();
  const query = {
    interpreters: options.interpreters ?? [],
    pathOnly: options.pathOnly ?? false,
    timeoutMs: options.timeoutMs ?? PROBE_TIMEOUT_MS,
  };
  const selves = selfIds(options.selfPath ?? process.execPath);
  const isSelf = (path: string): boolean => selves.has(idOf(path) ?? "");
  let findings = cache === undefined ? undefined : readCache(cache, query, env, isSelf);
  const observer = new FileObserver(env, clock.nowMs());
  const search = searchPath(observer, query.pathOnly);
  const detecting = findings === undefined ? detect(options, observer, search, selves) : undefined;
  // These files are read while the version commands run.
  const image = imageFacts(search.path);
  if (detecting !== undefined) {
    findings = await detecting;
    if (cache !== undefined && observer.isRepeatable)
      writeCache(cache, query, observer.observations, findings);
  }
  return {
    schema: 1,
    took_ms: Math.round((clock.monotonicMs() - startedMs) * 10) / 10,
    cached: detecting === undefined,
    ...findings!,
    image,
  };
}

/** Names of the working runtimes, in the order of the report: the lowest of the three tiers. (A5) */
export function detectedRuntimes(report: ImageReport): string[] {
  return report.interpreters
    .filter((interpreter) => interpreter.verdict === "ok")
    .map((interpreter) => interpreter.name);
}

async function detect(
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
    limiter: new Limiter(options.probesMax ?? Math.max(2, availableParallelism()), SLOT_MS, clock),
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
  // The slow version commands start before any other file is examined.
  for (const investigation of investigations.values()) investigation.start();
  const names = versionedNamesReader(table, observer);
  const finishing = [...investigations.values()].map((investigation) =>
    investigation.finish(names),
  );
  const python = table.find(({ name }) => name === "python");
  const environments = findVirtualEnvironments(python, context);
  const packageManagers = findPackageManagers(search.dirs, observer);
  observeDatabases(observer);

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

/** The built-in table with the config's interpreters added or replaced. One with an invalid pattern is reported as broken. */
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
        `has an invalid pattern in the config: ${error instanceof Error ? error.message : String(error)}`,
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

/** Ids of the agent's own executable. A file id also matches when the file has another name or is reached through a link. */
function selfIds(selfPath: string): Set<string> {
  return new Set([selfPath, "/proc/self/exe"].flatMap((path) => idOf(path) ?? []));
}

/** Undefined when the file does not exist, as `/proc/self/exe` without /proc. */
function idOf(path: string): string | undefined {
  try {
    return fileId(statSync(path, { bigint: true }));
  } catch {
    return undefined;
  }
}
