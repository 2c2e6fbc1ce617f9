/**
 * Runs a staged copy before anybody else can: `--version --json`, with an empty environment, a bounded time and output. What
 * it answers must be what we would. (A2)
 */
import type { Clock } from "@fleet/daemon/clock";
import { InstallError } from "./failure.ts";

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
const EXIT_NOT_STARTED = 127;
const QUOTED_CHARS_MAX = 200;

type Child = Bun.Subprocess<"pipe", "pipe", "pipe">;

/** Resolves when the copy answered right; throws `InstallError`. */
export async function tryRun(trial: Trial): Promise<void> {
  const { dir, clock, limitMs = LIMIT_MS } = trial;
  const child = start(trial);
  const stop = (): void => child.kill("SIGKILL");
  process.once("exit", stop);
  const late = Promise.withResolvers<undefined>();
  const timer = clock.after(limitMs, () => late.resolve(undefined));
  try {
    const ended = Promise.all([
      readBounded(child, "stdout"),
      readBounded(child, "stderr"),
      child.exited,
    ]);
    const outputs = await Promise.race([ended, late.promise]);
    if (outputs === undefined) throw misbehaved(dir, `did not answer within ${limitMs / 1000} s`);
    judge(child, outputs[0], outputs[1], trial);
  } finally {
    stop();
    process.off("exit", stop);
    timer.cancel();
  }
}

function start({ path, dir, isNoexec }: Trial): Child {
  try {
    const child = Bun.spawn([path, "--version", "--json"], {
      cwd: "/",
      env: {},
      stdio: ["pipe", "pipe", "pipe"], // "ignore" needs a /dev/null, which a root may lack.
    });
    void child.stdin.end();
    return child;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOEXEC") throw wrongArch(dir, error);
    if (code !== "EACCES" && code !== "EPERM")
      throw misbehaved(dir, `could not be started: ${message}`, error);
    throw isNoexec() === true
      ? mountedNoexec(dir, error)
      : new InstallError(
          "noexec",
          `${dir}: running the copy was forbidden (${code}), though the mount says nothing of noexec; look for a security policy (SELinux, AppArmor, fapolicyd), or use another volume`,
          error,
        );
  }
}

function judge(child: Child, stdout: string, stderr: string, trial: Trial): void {
  const { dir, expected, isNoexec } = trial;
  const { exitCode, signalCode } = child;
  // The copy would have said why. Emulators such as qemu-user lose what exec returned: the child just ends so.
  if (exitCode === EXIT_NOT_STARTED && stdout === "" && stderr === "")
    throw isNoexec() === true ? mountedNoexec(dir) : wrongArch(dir);
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

function wrongArch(dir: string, cause?: unknown): InstallError {
  return new InstallError(
    "wrong_arch",
    `${dir}: the kernel does not run programs for ${process.arch}, as the copy is; this one runs emulated, so install the build for this machine's own processor`,
    cause,
  );
}

function mountedNoexec(dir: string, cause?: unknown): InstallError {
  return new InstallError(
    "noexec",
    `${dir} is mounted noexec; mount it without, or use another volume`,
    cause,
  );
}

function misbehaved(dir: string, what: string, cause?: unknown): InstallError {
  return new InstallError("misbehaved", `${dir}: the copy ${what}`, cause);
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
