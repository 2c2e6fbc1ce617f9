/** Asks one candidate for its version, by running it. Nothing it does is fatal. (A4) */
import { lstatSync, statSync } from "node:fs";
import type { Candidate } from "./candidates.ts";
import type { Limiter } from "./limiter.ts";
import { identifyShell, knownShell } from "./identify-shell.ts";
import type { Installation, Rejection, RejectionCode } from "../image-report.ts";
import { stateOf } from "../inspect/inspect-executable.ts";
import type { Interpreter } from "./interpreters.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { printable } from "../inspect/printable.ts";
import { type ProbeLimits, type ProbeResult, runProbe } from "./run-probe.ts";
import { javaVendor, staticFacts, type StaticFacts } from "./static-facts.ts";
import type { EvidenceLog } from "../inspect/evidence-log.ts";
import { coerceVersion } from "./coerce-version.ts";

export interface ProbeContext extends ProbeLimits {
  readonly observer: FileObserver;
  readonly limiter: Limiter;
  /** PATH for the version command, for those that start others. */
  readonly path: string;
  /** All interpreters, to tell what answers in the place of another. */
  readonly table: readonly Interpreter[];
}

export type Verdict =
  | { readonly at: "works"; readonly installation: Installation }
  | { readonly at: "fails"; readonly rejection: Rejection };

const VERSION_CHARS_MAX = 64;

/** Troubles of the moment: another look may end otherwise. */
const PASSING: ReadonlySet<RejectionCode> = new Set([
  "timeout",
  "flood",
  "spawn_failed",
  "vanished",
]);

/** Runs the candidate's version command, a second time with the image's LD_LIBRARY_PATH when its loader lacks a library. */
export async function probeInterpreter(
  interpreter: Interpreter,
  candidate: Candidate,
  evidenceLog: EvidenceLog,
  context: ProbeContext,
): Promise<Verdict> {
  const { executable } = candidate;
  const { path } = executable;
  let note = candidate.note;
  let { result, tookMs } = await run(interpreter, candidate, evidenceLog, context, {});
  if (result.at === "failed" && result.code === "library_missing") {
    const libraries = context.observer.variable("LD_LIBRARY_PATH");
    if (libraries !== undefined) {
      const lacked = result.reason;
      const again = await run(interpreter, candidate, evidenceLog, context, {
        LD_LIBRARY_PATH: libraries,
      });
      ({ result, tookMs } = again);
      if (result.at === "done") note = `works only with LD_LIBRARY_PATH: without, it ${lacked}`;
    }
  }
  const reject = (code: RejectionCode, reason: string): Verdict => {
    if (PASSING.has(code)) context.observer.passing();
    evidenceLog.add("verdict", path, reason);
    const rejection = {
      path,
      real_path: executable.realPath,
      code,
      reason: printable(reason, 300),
    };
    return { at: "fails", rejection };
  };
  if (result.at === "failed") return reject(result.code, result.reason);

  const output = `${result.stdout}\n${result.stderr}`;
  const answer = understand(interpreter, candidate, output, evidenceLog);
  if (answer === undefined) {
    const said = printable(output, 80) || "nothing";
    const other = whoSays(output, context.table);
    return other === undefined
      ? reject(
          "no_version",
          `answered something that is no version of ${interpreter.name}: ${said}`,
        )
      : reject("impostor", `answers as ${other} would, not ${interpreter.name}: ${said}`);
  }
  const change = changeOf(executable.path, executable.state);
  if (change === "gone")
    return reject("vanished", "answered when asked for its version, then was gone");
  if (change === "changed") {
    context.observer.passing();
    note = "was changed while it was looked at";
  }
  const facts = staticFacts(interpreter.name, executable, context.observer);
  evidenceLog.add(
    "verdict",
    path,
    `works: ${[answer.implementation, answer.version].join(" ").trim()}`,
  );
  return {
    at: "works",
    installation: {
      ...describe(candidate, facts, answer),
      vendor: facts.vendor ?? (interpreter.name === "java" ? javaVendor(output) : null),
      note,
      probe_ms: Math.round(tookMs * 10) / 10,
    },
  };
}

/** What its files alone say; undefined when they leave room for doubt. */
export function knownInstallation(
  interpreter: Interpreter,
  candidate: Candidate,
  evidenceLog: EvidenceLog,
  observer: FileObserver,
): Installation | undefined {
  const facts = staticFacts(interpreter.name, candidate.executable, observer);
  const identity = interpreter.shell === true ? knownShell(candidate.executable) : facts.identity;
  if (identity === null) return undefined;
  const { version, implementation } = identity;
  const found = `${facts.source ?? "its files"} says ${[implementation, version].join(" ").trim()}; it was not run`;
  evidenceLog.add("facts", candidate.executable.path, found);
  return { ...describe(candidate, facts, identity), probe_ms: null };
}

function describe(
  { executable, libc, arch, via, note }: Candidate,
  { vendor, kind }: StaticFacts,
  { version, implementation }: Pick<Installation, "version" | "implementation">,
): Omit<Installation, "probe_ms"> {
  return {
    path: executable.path,
    real_path: executable.realPath,
    version,
    semver: version === null ? null : coerceVersion(version),
    implementation,
    vendor,
    kind,
    libc,
    arch,
    via,
    note,
  };
}

async function run(
  interpreter: Interpreter,
  { executable }: Candidate,
  evidenceLog: EvidenceLog,
  context: ProbeContext,
  extraEnv: Readonly<Record<string, string>>,
): Promise<{ result: ProbeResult; tookMs: number }> {
  const env = {
    PATH: context.path,
    HOME: "/nonexistent",
    LANG: "C",
    LC_ALL: "C",
    ...interpreter.env,
    ...extraEnv,
  };
  const command = { path: executable.path, args: interpreter.versionArgs, env };
  const ended = await context.limiter.run(async () => {
    const startedMs = context.clock.monotonicMs();
    const timeoutMs = interpreter.timeoutMs ?? context.timeoutMs;
    const result = await runProbe(command, {
      spawn: context.spawn,
      clock: context.clock,
      timeoutMs,
    });
    return { result, tookMs: context.clock.monotonicMs() - startedMs };
  });
  const { result, tookMs } = ended;
  const words = [
    ...Object.entries(extraEnv).map(([name, value]) => `${name}=${value}`),
    command.path,
    ...command.args,
  ].join(" ");
  const outcome =
    result.at === "failed"
      ? result.reason
      : `exited with 0, said: ${firstLine(`${result.stdout}\n${result.stderr}`)}`;
  evidenceLog.add(
    "run",
    executable.path,
    `${words} (${Math.round(tookMs * 10) / 10} ms) ${outcome}`,
  );
  return ended;
}

function understand(
  interpreter: Interpreter,
  candidate: Candidate,
  output: string,
  evidenceLog: EvidenceLog,
): Pick<Installation, "version" | "implementation"> | undefined {
  const { executable } = candidate;
  for (const { pattern, implementation } of interpreter.patterns) {
    const match = pattern.exec(output);
    if (match === null) continue;
    evidenceLog.add("answer", executable.path, `matches ${pattern.source}`);
    const said = match[1] === undefined ? null : printable(match[1], VERSION_CHARS_MAX);
    return said === null && interpreter.shell === true
      ? identifyShell(executable)
      : { implementation, version: said };
  }
  return undefined;
}

/** Whose version this is, of those that name themselves in it: a bare number may be anyone's. */
function whoSays(output: string, table: readonly Interpreter[]): string | undefined {
  return table.find(({ shell, patterns }) =>
    patterns.some(
      ({ pattern }) =>
        shell !== true && /[A-Za-z]{2}/.test(pattern.source) && pattern.exec(output) !== null,
    ),
  )?.name;
}

function firstLine(output: string): string {
  return output.split("\n").find((line) => line.trim() !== "") ?? "nothing";
}

/** What has become of a file since it was inspected. */
function changeOf(path: string, state: string): "same" | "changed" | "gone" {
  try {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return "gone";
    return stateOf(statSync(path, { bigint: true })) === state ? "same" : "changed";
  } catch {
    return "gone";
  }
}
