/**
 * Finds out what the image this process runs in can run. Called once at the agent's start, before anything else, and by `--detect-only`.
 * It always gives a report: a broken interpreter, image or file is something to tell, never a failure. (A4, A7, A9)
 */
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Gate } from "./gate.ts";
import { imageFacts } from "./image-facts.ts";
import type { ImageReport, InterpreterReport } from "./image-report.ts";
import { fileId } from "./inspect-executable.ts";
import { fromCustom, INTERPRETERS } from "./interpreters.ts";
import type { CustomInterpreter, Interpreter } from "./interpreters.ts";
import { findPackageManagers } from "./package-managers.ts";
import { printable } from "./printable.ts";
import { probeInterpreter } from "./probe-interpreter.ts";
import type { ProbeContext } from "./probe-interpreter.ts";
import { spawnProbe } from "./run-probe.ts";
import type { ProbeClock, SpawnProbe } from "./run-probe.ts";
import { effectivePath, findCandidates, searchPath } from "./search-path.ts";
import type { Environment } from "./search-path.ts";
import { findVirtualEnvironments } from "./virtual-environments.ts";

export interface DetectOptions {
  /** The image's environment: PATH, FLEET_RUNTIME_ENVS_DIR, JAVA_HOME and the like are read from it. Nothing of it reaches a probe but PATH. */
  readonly env: Environment;
  readonly clock: ProbeClock;
  /** The config file's `interpreters:`. */
  readonly interpreters?: readonly CustomInterpreter[] | undefined;
  /** Leaves out the usual directories and each interpreter's own: only PATH is searched. */
  readonly pathOnly?: boolean;
  /** How long a version command may take. Default PROBE_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  /** Version commands at a time. Default: two for each CPU. */
  readonly probesMax?: number;
  /** The agent's own executable, which is never taken for an interpreter. Default `process.execPath`. */
  readonly selfPath?: string;
  readonly spawn?: SpawnProbe;
}

export const PROBE_TIMEOUT_MS = 2000;

/**
 * See the file comment. Takes about as long as the slowest version command. An interpreter of which every candidate hangs costs two
 * timeouts, side by side with the others as far as `probesMax` goes.
 */
export async function detectImage(options: DetectOptions): Promise<ImageReport> {
  const { env, clock } = options;
  const startedMs = clock.monotonicMs();
  const startedAtMs = clock.nowMs();
  const path = effectivePath(env);
  const search = searchPath(env, options.pathOnly ?? false);
  const context: ProbeContext = {
    spawn: options.spawn ?? spawnProbe,
    clock,
    timeoutMs: options.timeoutMs ?? PROBE_TIMEOUT_MS,
    gate: new Gate(options.probesMax ?? availableParallelism() * 2),
    path,
    selfIds: selfIds(options.selfPath ?? process.execPath),
  };
  const { table, broken } = interpreterTable(options.interpreters ?? []);
  const slowFirst = table.toSorted((a, b) => (b.slowness ?? 0) - (a.slowness ?? 0));
  const probing = slowFirst.map((interpreter) =>
    probeInterpreter(interpreter, findCandidates(interpreter, search, process.arch), context),
  );

  // The rest is read while the version commands run.
  const image = imageFacts(path);
  const packageManagers = findPackageManagers(search.dirs);
  const environments = findVirtualEnvironments(env["FLEET_RUNTIME_ENVS_DIR"], process.arch);

  const found = new Map<string, InterpreterReport>();
  for (const report of [...broken, ...(await Promise.all(probing))]) {
    if (report !== undefined) found.set(report.name, report);
  }
  const names = [
    ...table.map((interpreter) => interpreter.name),
    ...broken.map((report) => report.name),
  ];
  return {
    schema: 1,
    took_ms: Math.round((clock.monotonicMs() - startedMs) * 10) / 10,
    cached: false,
    looked_at_ms: startedAtMs,
    interpreters: names.flatMap((name) => found.get(name) ?? []),
    absent: names.filter((name) => !found.has(name)),
    package_managers: packageManagers,
    environments,
    image,
    evidence: {},
  };
}

/** The runtimes that work, in the order of the report; the lowest of the three tiers. (A5) */
export function detectedRuntimes(report: ImageReport): string[] {
  return report.interpreters
    .filter((interpreter) => interpreter.verdict === "ok")
    .map((interpreter) => interpreter.name);
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
  const ids = new Set<string>();
  for (const path of [selfPath, "/proc/self/exe"]) {
    try {
      ids.add(fileId(statSync(path)));
    } catch {
      // No /proc, or the file was replaced.
    }
  }
  return ids;
}
