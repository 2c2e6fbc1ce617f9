/**
 * Runs a staged copy before anybody else can: `--version --json`, with an empty environment, a bounded time and output. What
 * it answers must be what we would. (A2)
 */
import type { Clock } from "@fleet/daemon/clock";
import { type FailureCode, InstallError } from "./failure.ts";

/** What to run and where it is going. */
export interface Trial {
  readonly path: string;
  /** The line it must print on stdout, without LF. */
  readonly expected: string;
  /** For the messages. */
  readonly dir: string;
  /** Whether `dir` is mounted noexec; asked when it can't be run. */
  readonly isNoexec: () => boolean | undefined;
  readonly clock: Clock;
  readonly limitMs?: number;
}

/** A start takes 10 ms; a busy machine or an emulated processor takes its time. */
const LIMIT_MS = 30_000;
const OUTPUT_BYTES_MAX = 64 * 1024;
const QUOTED_CHARS_MAX = 200;

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

/** Resolves when the copy answered right; throws `InstallError`. */
export async function tryRun(trial: Trial): Promise<void> {
  const { dir, clock, limitMs = LIMIT_MS } = trial;
  const child = start(trial);
  let isLate = false;
  const timer = clock.after(limitMs, () => {
    isLate = true;
    child.kill("SIGKILL");
  });
  const stop = (): void => child.kill("SIGKILL");
  process.once("exit", stop);
  try {
    const outputs = Promise.all([readBounded(child, "stdout"), readBounded(child, "stderr")]);
    await child.exited;
    if (isLate) throw misbehaved(dir, `did not answer within ${limitMs / 1000} s`);
    const [stdout, stderr] = await outputs;
    judge(child, stdout, stderr, trial);
  } finally {
    process.off("exit", stop);
    timer.cancel();
  }
}

function start({ path, dir, isNoexec }: Trial): Child {
  try {
    return Bun.spawn([path, "--version", "--json"], {
      cwd: "/",
      env: {},
      stdio: ["ignore", "pipe", "pipe"],
    });
  } catch (error) {
    const fail = (code: FailureCode, text: string) => new InstallError(code, dir + text, error);
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOEXEC")
      throw fail(
        "wrong_arch",
        `: the kernel does not run programs for ${process.arch}, as the copy is; this one runs emulated, so install the build for this machine's own processor`,
      );
    if (code !== "EACCES" && code !== "EPERM")
      throw fail("misbehaved", `: the copy could not be started: ${message}`);
    throw isNoexec() === true
      ? fail("noexec", " is mounted noexec; mount it without, or use another volume")
      : fail(
          "noexec",
          `: running the copy was forbidden (${code}), though the mount says nothing of noexec; look for a security policy (SELinux, AppArmor, fapolicyd), or use another volume`,
        );
  }
}

function judge(child: Child, stdout: string, stderr: string, { dir, expected }: Trial): void {
  const { exitCode, signalCode } = child;
  if (signalCode === "SIGILL")
    throw new InstallError(
      "old_cpu",
      `${dir}: the copy died of SIGILL: this processor lacks instructions it needs; use a newer processor, or fleet-agent's build for an older one`,
    );
  const said = lastLine(stderr);
  if (signalCode !== null)
    throw misbehaved(
      dir,
      `was killed by ${signalCode}${said}; look for a memory limit or a seccomp rule`,
    );
  if (exitCode !== 0) throw misbehaved(dir, `ended with exit ${exitCode}${said}`);
  if (stdout.trimEnd() !== expected)
    throw misbehaved(dir, `answered ${quote(stdout)} in place of ${quote(expected)}`);
}

function misbehaved(dir: string, what: string): InstallError {
  return new InstallError("misbehaved", `${dir}: the copy ${what}`);
}

/** A program that prints more than any answer is ended. */
async function readBounded(child: Child, which: "stdout" | "stderr"): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of child[which]) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length <= OUTPUT_BYTES_MAX) continue;
    child.kill("SIGKILL");
    break;
  }
  return text;
}

function lastLine(text: string): string {
  const line = text.trimEnd().split("\n").at(-1) ?? "";
  return line === "" ? "" : `, saying ${quote(line)}`;
}

function quote(text: string): string {
  return JSON.stringify(text.trimEnd().slice(0, QUOTED_CHARS_MAX));
}
