/**
 * A child process with a log file of its own. It leads its own session, so that Ctrl-C in the terminal reaches only the script,
 * which then stops its children in order. Used by demo and chaos.
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cleanEnvironment } from "./clean-environment.ts";

/** From SIGTERM to SIGKILL. The agent needs at most 10 s to stop, the coordinator 15 s. */
const STOP_MS_MAX = 18_000;

/** A program to run. Its log is `NAME.log`. */
export interface Program {
  readonly name: string;
  readonly path: string;
  readonly args: readonly string[];
  /** Added to the script's own environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A started process. */
export class LoggedProcess {
  readonly name: string;
  readonly logFile: string;
  readonly pid: number;
  /** Resolves when the process has ended. */
  readonly gone: Promise<void>;
  /** How the process ended, such as `exit code 3` or `killed by SIGKILL`; undefined while it runs. */
  end: string | undefined;
  readonly #child: Bun.Subprocess;

  /** Adds `mark` (`NAME=value`) to the environment, which the process passes on to everything it starts. */
  constructor({ name, path, args, env }: Program, logsDir: string, mark: string) {
    this.name = name;
    this.logFile = join(logsDir, `${name}.log`);
    const [markName = "", markValue = ""] = mark.split("=");
    const log = openSync(this.logFile, "a");
    try {
      this.#child = Bun.spawn([path, ...args], {
        cwd: "/",
        env: { ...cleanEnvironment(process.env), ...env, [markName]: markValue },
        stdin: "ignore",
        stdout: log,
        stderr: log,
        detached: true,
      });
    } finally {
      closeSync(log);
    }
    this.pid = this.#child.pid;
    this.gone = this.#child.exited.then(() => {
      const { exitCode, signalCode } = this.#child;
      this.end = signalCode === null ? `exit code ${exitCode}` : `killed by ${signalCode}`;
    });
  }

  /** Sends SIGTERM, and SIGKILL if the process has not ended after 18 s. Resolves when it has ended. */
  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.kill(), STOP_MS_MAX);
    await this.gone;
    clearTimeout(timer);
  }

  /** Sends SIGKILL. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** Returns the last lines of a log, or a note that there are none. */
export function tailOf(logFile: string, lines = 12): string {
  let text: string;
  try {
    text = readFileSync(logFile, "utf8");
  } catch {
    return "(no log)";
  }
  return text.trimEnd().split("\n").slice(-lines).join("\n") || "(the log is empty)";
}
