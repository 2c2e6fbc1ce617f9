/**
 * Runs a staged copy with `--version --json` before it is published, with an empty environment and bounded time and output. Its
 * answer must equal that of this program. (A2)
 */
import type { Clock } from "@fleet/daemon/clock";
import { InstallError } from "./failure.ts";

/** The copy to run, and its destination. */
export interface Trial {
  readonly path: string;
  /** The line it must print on stdout, without LF. */
  readonly expected: string;
  /** The destination, for the messages. */
  readonly dir: string;
  /** Whether `dir` is mounted noexec; called if the copy can't be run. */
  readonly isNoexec: () => boolean | undefined;
  readonly clock: Clock;
  readonly limitMs?: number;
}

/** A start takes 10 ms, but much longer on a busy machine or an emulated processor. */
const LIMIT_MS = 30_000;
const OUTPUT_BYTES_MAX = 64 * 1024;
const EXIT_NOT_STARTED = 127;
const QUOTED_CHARS_MAX = 200;

type Child = Bun.Subprocess<"pipe", "pipe", "pipe">;

/** Resolves if the answer is correct; throws `InstallError`. */
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
          `${dir}: running the copy was not permitted (${code}), though the mount is not noexec; check security policies (SELinux, AppArmor, fapolicyd), or use another volume`,
          error,
        );
  }
}

function judge(child: Child, stdout: string, stderr: string, trial: Trial): void {
  const { dir, expected, isNoexec } = trial;
  const { exitCode, signalCode } = child;
  // Emulators such as qemu-user lose the error of exec; the child exits with 127. The copy itself would have printed a reason.
  if (exitCode === EXIT_NOT_STARTED && stdout === "" && stderr === "")
    throw isNoexec() === true ? mountedNoexec(dir) : wrongArch(dir);
  if (signalCode === "SIGILL")
    throw new InstallError(
      "old_cpu",
      `${dir}: the copy died of SIGILL: the processor lacks instructions that it needs; use a newer processor, or the fleet-agent build for older ones`,
    );
  const stderrNote = lastLine(stderr);
  if (signalCode !== null)
    throw misbehaved(
      dir,
      `was killed by ${signalCode}${stderrNote}; check memory limits and seccomp rules`,
    );
  if (exitCode !== 0) throw misbehaved(dir, `exited with code ${exitCode}${stderrNote}`);
  if (stdout.trimEnd() !== expected)
    throw misbehaved(dir, `answered ${quote(stdout)} instead of ${quote(expected)}`);
}

function wrongArch(dir: string, cause?: unknown): InstallError {
  return new InstallError(
    "wrong_arch",
    `${dir}: the kernel does not run programs for ${process.arch}, and this one is emulated; install the build for this machine's processor`,
    cause,
  );
}

function mountedNoexec(dir: string, cause?: unknown): InstallError {
  return new InstallError(
    "noexec",
    `${dir} is mounted noexec; mount it without noexec, or use another volume`,
    cause,
  );
}

function misbehaved(dir: string, what: string, cause?: unknown): InstallError {
  return new InstallError("misbehaved", `${dir}: the copy ${what}`, cause);
}

/** Kills a program that prints too much. */
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
  return line === "" ? "" : `, printing ${quote(line)}`;
}

function quote(text: string): string {
  return JSON.stringify(text.trimEnd().slice(0, QUOTED_CHARS_MAX));
}
