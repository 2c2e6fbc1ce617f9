/**
 * The seam between supervision and the operating system: how a process is begun, read and signalled.
 * `systemSpawn` is the real one; `FakeSpawn` (@fleet/supervisor/testing) the one tests drive by hand.
 *
 * Every process leads a session and a process group of its own, reads /dev/null or, where there is none, a pipe that has
 * ended, and holds no descriptor of ours but its two outputs. These are pipes, because Bun's own `stdout: "pipe"` is a
 * socket, and a socket cannot be opened through /dev/stdout or /dev/stderr, which shell scripts do. (A11, A12)
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
 * What to run. `command` is argv; its first word is a path, or a name looked up in `env.PATH`. `env` is the whole environment.
 * A process that may not have its user or limits ends with 126 and a line on stderr, one whose program is not there with 127.
 */
export interface SpawnRequest extends LaunchSettings {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
}

/** How a process ended: an exit code, or the signal that killed it. Never both; neither when somebody else reaped it. */
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
  /** Settles once, when the process itself is gone; its outputs may still hold data. Never rejects. */
  readonly exited: Promise<ProcessExit>;
  /** Signals every member of the group; an empty group is not an error. Not to be called long after `exited`: the id may be reused. */
  signalGroup(signal: GroupSignal): void;
}

/** Begins a process. Throws `SpawnError`. */
export type Spawn = (request: SpawnRequest) => SpawnedProcess;

/** A process could not be begun. `errno` is the system's name for why (`ENOENT`, `EACCES`, …); the message is for people. */
export class SpawnError extends Error {
  readonly code = "spawn_failed";
  readonly errno: string;
  constructor(errno: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.errno = errno;
  }
}

/** Begins a real process. Throws `SpawnError`, with nothing left open. */
export const systemSpawn: Spawn = createSpawn(OWN_LAUNCHER);

/** `systemSpawn` with this file as its launcher. Without one, a request for another user or limits is an error. */
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
      stdin: canUse(NULL_DEVICE) ? "ignore" : "pipe",
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
        // Somebody else has waited for it (ECHILD): it is gone, and how is not known.
        () => ({ code: undefined, signal: undefined }),
      ),
      signalGroup: (signal) => void signalGroup(pid, signal),
    };
  } catch (error) {
    throw explain(request, error);
  } finally {
    out?.close();
    err?.close();
  }
}

interface CommandLine {
  readonly argv: string[];
  /** When it is to be called otherwise than by its path. */
  readonly argv0?: string;
}

function commandLine(request: SpawnRequest, launcher: string | undefined): CommandLine {
  const words = launchArguments(request);
  if (words === undefined) return { argv: [...request.command] };
  if (launcher === undefined)
    throw new SpawnError("ENOSYS", "only a static build can set a user or limits for a process");
  const command = locateProgram(request.command, request.env, request.cwd);
  if (command === undefined) throw explain(request, { code: "ENOENT" });
  return { argv: [launcher, ...words, ...command], argv0: LAUNCHER_NAME };
}

/** Signals the group that `pid` leads. False when there is none, or it may not be signalled. */
export function signalGroup(pid: number, signal: GroupSignal): boolean {
  if (!Number.isInteger(pid) || pid <= 1) throw new RangeError(`not a process group: ${pid}`);
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

function explain(request: SpawnRequest, cause: unknown): SpawnError {
  if (cause instanceof SpawnError) return cause;
  const errno = (cause as { code?: unknown }).code;
  const code = typeof errno === "string" ? errno : "UNKNOWN";
  const name = JSON.stringify(request.command[0] ?? "");
  const text = (message: string): SpawnError => new SpawnError(code, message, cause);
  if (request.cwd !== undefined && !isDirectory(request.cwd))
    return text(`the working directory ${JSON.stringify(request.cwd)} is not there`);
  switch (code) {
    case "ENOENT":
      return name.includes("/") && existsSync(request.command[0] ?? "")
        ? text(`${name} is there, but the interpreter or loader it names is not`)
        : text(`${name} was not found${name.includes("/") ? "" : " in PATH"}`);
    case "EACCES":
      return text(`${name} may not be executed`);
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

/** Bun opens it for `stdin: "ignore"`, and a bare root may lack it: then nothing could be started. */
function canUse(path: string): boolean {
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
