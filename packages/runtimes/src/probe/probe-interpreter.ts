/** Runs the version command of one candidate and judges the answer. Whatever the program does, the result is a verdict. (A4) */
import { lstatSync, statSync } from "node:fs";
import type { Candidate } from "./candidates.ts";
import type { Limiter } from "./limiter.ts";
import { identifyShell, shellFromFile } from "./identify-shell.ts";
import type { Installation, Rejection, RejectionCode } from "../image-report.ts";
import { fingerprintOf } from "../inspect/inspect-executable.ts";
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
  /** PATH of the version command, for wrappers that start other programs. */
  readonly path: string;
  /** All interpreters, to recognise one that answers in place of another. */
  readonly table: readonly Interpreter[];
}

export type Verdict =
  | { readonly at: "works"; readonly installation: Installation }
  | { readonly at: "fails"; readonly rejection: Rejection };

const VERSION_CHARS_MAX = 64;

/** Failures that may not recur, so the result is not cached. */
const TRANSIENT_CODES: ReadonlySet<RejectionCode> = new Set([
  "timeout",
  "flood",
  "spawn_failed",
  "vanished",
]);

/** Runs the candidate's version command, and once more with the image's LD_LIBRARY_PATH if its loader does not find a library. */
export async function probeInterpreter(
  interpreter: Interpreter,
  candidate: Candidate,
  evidenceLog: EvidenceLog,
  context: ProbeContext,
): Promise<Verdict> {
  const { executable } = candidate;
  const { path } = executable;
  let note = candidate.note;
  let { result, tookMs } = await runVersionCommand(
    interpreter,
    candidate,
    evidenceLog,
    context,
    {},
  );
  if (result.at === "failed" && result.code === "library_missing") {
    const libraries = context.observer.variable("LD_LIBRARY_PATH");
    if (libraries !== undefined) {
      const { reason } = result;
      ({ result, tookMs } = await runVersionCommand(interpreter, candidate, evidenceLog, context, {
        LD_LIBRARY_PATH: libraries,
      }));
      if (result.at === "done") note = `works only with LD_LIBRARY_PATH; without it, it ${reason}`;
    }
  }
  const reject = (code: RejectionCode, reason: string): Verdict => {
    if (TRANSIENT_CODES.has(code)) context.observer.markUnrepeatable();
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
  const answer = parseAnswer(interpreter, candidate, output, evidenceLog);
  if (answer === undefined) {
    const printed = printable(output, 80) || "nothing";
    const other = identifyByAnswer(output, context.table);
    return other === undefined
      ? reject("no_version", `did not print a ${interpreter.name} version, but: ${printed}`)
      : reject("impostor", `is ${other}, not ${interpreter.name}: ${printed}`);
  }
  const change = changeSince(executable.path, executable.fingerprint);
  if (change === "gone") return reject("vanished", "disappeared after it printed its version");
  if (change === "changed") {
    context.observer.markUnrepeatable();
    note = "was changed during detection";
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
      ...toInstallation(candidate, facts, answer),
      vendor: facts.vendor ?? (interpreter.name === "java" ? javaVendor(output) : null),
      note,
      probe_ms: Math.round(tookMs * 10) / 10,
    },
  };
}

/** The installation according to its files, without running it; undefined when they do not state its version. */
export function installationFromFiles(
  interpreter: Interpreter,
  candidate: Candidate,
  evidenceLog: EvidenceLog,
  observer: FileObserver,
): Installation | undefined {
  const facts = staticFacts(interpreter.name, candidate.executable, observer);
  const identity =
    interpreter.isShell === true ? shellFromFile(candidate.executable) : facts.identity;
  if (identity === null) return undefined;
  const { version, implementation } = identity;
  const source = facts.source ?? candidate.executable.realPath;
  const found = `not run: ${source} states ${[implementation, version].join(" ").trim()}`;
  evidenceLog.add("facts", candidate.executable.path, found);
  return { ...toInstallation(candidate, facts, identity), probe_ms: null };
}

function toInstallation(
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

async function runVersionCommand(
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
  const run = await context.limiter.run(async () => {
    const startedMs = context.clock.monotonicMs();
    const result = await runProbe(command, context);
    return { result, tookMs: context.clock.monotonicMs() - startedMs };
  });
  const { result, tookMs } = run;
  const commandLine = [
    ...Object.entries(extraEnv).map(([name, value]) => `${name}=${value}`),
    command.path,
    ...command.args,
  ].join(" ");
  const outcome =
    result.at === "failed"
      ? result.reason
      : `exited with 0, printed: ${firstLine(`${result.stdout}\n${result.stderr}`)}`;
  evidenceLog.add(
    "run",
    executable.path,
    `${commandLine} (${Math.round(tookMs * 10) / 10} ms) ${outcome}`,
  );
  return run;
}

function parseAnswer(
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
    const version = match[1] === undefined ? null : printable(match[1], VERSION_CHARS_MAX);
    return version === null && interpreter.isShell === true
      ? identifyShell(executable)
      : { implementation, version };
  }
  return undefined;
}

/** The interpreter that prints such output, among those that print their name: a bare number identifies none. */
function identifyByAnswer(output: string, table: readonly Interpreter[]): string | undefined {
  return table.find(({ isShell, patterns }) =>
    patterns.some(
      ({ pattern }) =>
        isShell !== true && /[A-Za-z]{2}/.test(pattern.source) && pattern.exec(output) !== null,
    ),
  )?.name;
}

function firstLine(output: string): string {
  return output.split("\n").find((line) => line.trim() !== "") ?? "nothing";
}

/** Whether a file was changed or removed since `fingerprint` was taken. */
function changeSince(path: string, fingerprint: string): "same" | "changed" | "gone" {
  try {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return "gone";
    return fingerprintOf(statSync(path, { bigint: true })) === fingerprint ? "same" : "changed";
  } catch {
    return "gone";
  }
}
