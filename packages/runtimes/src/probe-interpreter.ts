/** Finds out which of an interpreter's candidates works, by running their version commands. Nothing a candidate does is fatal. (A4) */
import { identifyShell } from "./identify-shell.ts";
import type { Gate } from "./gate.ts";
import type { InterpreterReport, Rejection, WorkingInterpreter } from "./image-report.ts";
import type { Executable } from "./inspect-executable.ts";
import type { Interpreter } from "./interpreters.ts";
import { printable } from "./printable.ts";
import { runProbe } from "./run-probe.ts";
import type { ProbeLimits } from "./run-probe.ts";
import type { Candidate } from "./search-path.ts";
import { coerceVersion } from "./version-range.ts";

export interface ProbeContext extends ProbeLimits {
  readonly gate: Gate;
  /** PATH for the version command, for those that start others. */
  readonly path: string;
  /** Files that are the agent itself: they are passed over without a word, as if absent. */
  readonly selfIds: ReadonlySet<string>;
}

/** Candidates of one interpreter that are run at most, the first included. */
const CANDIDATES_MAX = 4;

const VERSION_CHARS_MAX = 64;

type Verdict =
  | { readonly working: Omit<WorkingInterpreter, "also" | "rejected"> }
  | { readonly rejection: Rejection };

/**
 * Runs the first viable candidate; only if that one fails, the remaining ones, all at once, of which the first that works is taken:
 * however many candidates hang, it takes no longer than two timeouts. Undefined when there is no candidate at all.
 */
export async function probeInterpreter(
  interpreter: Interpreter,
  candidates: Generator<Candidate, void>,
  context: ProbeContext,
): Promise<InterpreterReport | undefined> {
  const rejected: Rejection[] = [];
  const first = nextViable(candidates, rejected, context);
  if (first !== undefined) {
    const verdict = await probe(interpreter, first, context);
    if ("working" in verdict) return { ...verdict.working, also: [], rejected };
    rejected.push(verdict.rejection);

    const others: Promise<Verdict>[] = [];
    while (others.length < CANDIDATES_MAX - 1) {
      const next = nextViable(candidates, rejected, context);
      if (next === undefined) break;
      others.push(probe(interpreter, next, context));
    }
    for (const other of await Promise.all(others)) {
      if ("working" in other) return { ...other.working, also: [], rejected };
      rejected.push(other.rejection);
    }
  }
  return rejected.length === 0
    ? undefined
    : { verdict: "broken", name: interpreter.name, rejected };
}

function nextViable(
  candidates: Generator<Candidate, void>,
  rejected: Rejection[],
  { selfIds }: ProbeContext,
): Executable | undefined {
  for (;;) {
    const next = candidates.next();
    if (next.done === true) return undefined;
    if (next.value.at === "rejected") rejected.push(next.value.rejection);
    else if (!selfIds.has(next.value.executable.fileId)) return next.value.executable;
  }
}

async function probe(
  interpreter: Interpreter,
  executable: Executable,
  context: ProbeContext,
): Promise<Verdict> {
  const env = {
    PATH: context.path,
    HOME: "/nonexistent",
    LANG: "C",
    LC_ALL: "C",
    ...interpreter.env,
  };
  const command = { path: executable.path, args: interpreter.versionArgs, env };
  const { result, tookMs } = await context.gate.run(async () => {
    const startedMs = context.clock.monotonicMs();
    const timeoutMs = interpreter.timeoutMs ?? context.timeoutMs;
    const outcome = await runProbe(command, {
      spawn: context.spawn,
      clock: context.clock,
      timeoutMs,
    });
    return { result: outcome, tookMs: context.clock.monotonicMs() - startedMs };
  });
  const reject = (code: Rejection["code"], reason: string): Verdict => ({
    rejection: {
      path: executable.path,
      real_path: executable.realPath,
      code,
      reason: printable(reason, 300),
    },
  });
  if (result.at === "failed") return reject(result.code, result.reason);

  const output = `${result.stdout}\n${result.stderr}`;
  for (const { pattern, implementation } of interpreter.patterns) {
    const match = pattern.exec(output);
    if (match === null) continue;
    const said = match[1] === undefined ? null : printable(match[1], VERSION_CHARS_MAX);
    const known =
      said === null && interpreter.shell === true
        ? identifyShell(executable)
        : { implementation, version: said };
    return {
      working: {
        verdict: "ok",
        name: interpreter.name,
        path: executable.path,
        real_path: executable.realPath,
        version: known.version,
        semver: known.version === null ? null : coerceVersion(known.version),
        implementation: known.implementation,
        vendor: null,
        kind: null,
        libc: executable.libc,
        arch: executable.arch,
        via: null,
        note: null,
        probe_ms: Math.round(tookMs * 10) / 10,
      },
    };
  }
  return reject(
    "no_version",
    `answered something that is no version of ${interpreter.name}: ${printable(output, 80) || "nothing"}`,
  );
}
