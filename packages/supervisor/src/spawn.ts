/**
 * The interface between supervision and the operating system: spawns processes, reads their output and signals them.
 * `systemSpawn` is the real implementation; tests use `FakeSpawn` (@fleet/supervisor/testing).
 *
 * Every process leads its own session and process group. Its stdin is /dev/null, or a closed pipe if there is no /dev/null; it
 * inherits no descriptor but its two outputs. These are pipes, because Bun's own `stdout: "pipe"` is a socket, which cannot be
 * opened through /dev/stdout or /dev/stderr as shell scripts do. (A11, A12)
 */
import { accessSync, constants, existsSync, statSync } from "node:fs";

import { type ByteSource, fdSource, streamSource } from "./byte-source.ts";
import {
  launchArguments,
  LAUNCHER_NAME,
  type LaunchSettings,
  locateProgram,
  makeExpendable,
  OWN_LAUNCHER,
} from "./launch.ts";
import { openPipe } from "./pipe.ts";

const NULL_DEVICE = "/dev/null";

/**
 * What to run. `command` is argv; its first element is a path, or a name looked up in `env.PATH`. `env` is the complete
 * environment. If the user or a limit cannot be set, the process exits with 126 and a line on stderr; if its program is
 * missing, with 127.
 */
export interface SpawnRequest extends LaunchSettings {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
}

/** How a process ended: an exit code or the signal that killed it. Both are undefined if another part of the process reaped it. */
export interface ProcessExit {
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

/** The signals a supervisor sends. */
export type GroupSignal = "SIGTERM" | "SIGKILL";

/** A running process that leads its own group. */
export interface SpawnedProcess {
  readonly pid: number;
  readonly stdout: ByteSource;
  readonly stderr: ByteSource;
  /** Resolves when the process has exited; its outputs may still hold data. Never rejects. */
  readonly exited: Promise<ProcessExit>;
  /** Signals every member of the group, which may be empty. Must not be called long after `exited`: the id may be reused. */
  signalGroup(signal: GroupSignal): void;
}

/** Spawns a process. Throws `SpawnError`. */
export type Spawn = (request: SpawnRequest) => SpawnedProcess;

/** A process could not be spawned. `errno` is the system's error code (`ENOENT`, `EACCES`, …); the message is for people. */
export class SpawnError extends Error {
  readonly code = "spawn_failed";
  readonly errno: string;
  constructor(errno: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.errno = errno;
  }
}

/** Spawns a real process. Throws `SpawnError` and then leaves no descriptor open. */
export const systemSpawn: Spawn = createSpawn(OWN_LAUNCHER);

/** Like `systemSpawn`, with the given file as launcher. Without a launcher, requesting another user or limits is an error. */
export function createSpawn(launcher: string | undefined): Spawn {
  return (request) => spawn(request, launcher);
}

function spawn(request: SpawnRequest, launcher: string | undefined): SpawnedProcess {
  const { argv, argv0 } = commandLine(request, launcher);
  const out = openPipe();
  const err = out === undefined ? undefined : openPipe();
  try {
    const child = Bun.spawn(argv, {
      ...(argv0 === undefined ? {} : { argv0 }),
      stdin: isAccessible(NULL_DEVICE) ? "ignore" : "pipe",
      stdout: out?.writeFd ?? "pipe",
      stderr: err?.writeFd ?? "pipe",
      detached: true,
      env: { ...request.env },
      ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
    });
    const { pid } = child;
    void child.stdin?.end();
    if (request.isExpendable === true && argv0 === undefined) makeExpendable(pid);
    return {
      pid,
      stdout: out === undefined ? streamSource(child.stdout) : fdSource(out.takeRead()),
      stderr: err === undefined ? streamSource(child.stderr) : fdSource(err.takeRead()),
      exited: child.exited.then(
        () => ({
          code: child.exitCode ?? undefined,
          signal: child.signalCode === null ? undefined : String(child.signalCode),
        }),
        // ECHILD: other code in this process has already waited for it, so its exit status is unknown.
        () => ({ code: undefined, signal: undefined }),
      ),
      signalGroup: (signal) => void signalGroup(pid, signal),
    };
  } catch (error) {
    throw toSpawnError(request, error);
  } finally {
    out?.close();
    err?.close();
  }
}

interface CommandLine {
  readonly argv: string[];
  /** The name to call it by, if not its path. */
  readonly argv0?: string;
}

function commandLine(request: SpawnRequest, launcher: string | undefined): CommandLine {
  const launchArgs = launchArguments(request);
  if (launchArgs === undefined) return { argv: [...request.command] };
  if (launcher === undefined)
    throw new SpawnError("ENOSYS", "only a static build can set a user or limits for a process");
  const command = locateProgram(request.command, request.env, request.cwd);
  if (command === undefined) throw toSpawnError(request, { code: "ENOENT" });
  return { argv: [launcher, ...launchArgs, ...command], argv0: LAUNCHER_NAME };
}

/** Signals the group led by `pid`. Returns false when it does not exist or this user may not signal it. */
export function signalGroup(pid: number, signal: GroupSignal): boolean {
  if (!Number.isInteger(pid) || pid <= 1) throw new RangeError(`not a process group: ${pid}`);
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

function toSpawnError(request: SpawnRequest, cause: unknown): SpawnError {
  if (cause instanceof SpawnError) return cause;
  const errno = (cause as { code?: unknown }).code;
  const code = typeof errno === "string" ? errno : "UNKNOWN";
  const name = JSON.stringify(request.command[0] ?? "");
  const text = (message: string): SpawnError => new SpawnError(code, message, cause);
  if (request.cwd !== undefined && !isDirectory(request.cwd))
    return text(`the working directory ${JSON.stringify(request.cwd)} does not exist`);
  switch (code) {
    case "ENOENT":
      return name.includes("/") && existsSync(request.command[0] ?? "")
        ? text(`${name} exists, but the interpreter or loader it names does not`)
        : text(`${name} was not found${name.includes("/") ? "" : " in PATH"}`);
    case "EACCES":
      return text(`${name} is not executable`);
    case "ENOEXEC":
      return text(`${name} is not a program for this machine, nor a script with a #! line`);
    case "E2BIG":
      return text(`the arguments and environment of ${name} are too long`);
    default:
      return text(
        `${name} could not be started: ${cause instanceof Error ? cause.message : String(cause)}`,
      );
  }
}

/** Whether a file can be opened. Bun opens /dev/null for `stdin: "ignore"` and fails without it, as in a minimal image. */
function isAccessible(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
