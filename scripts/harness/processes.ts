/**
 * The processes of the demo: started with a log file each, stopped in order, and none left behind. Each leads a session of its
 * own, so that the terminal's Ctrl-C reaches only the demo, which then stops them one after the other.
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cleanEnvironment } from "./clean-environment.ts";

/** From TERM to KILL: what the agent allows itself is 10 s, the coordinator 15 s. */
const STOP_MS_MAX = 18_000;

/** A program to run. `name` is also its log's. */
export interface Program {
  readonly name: string;
  readonly path: string;
  readonly args: readonly string[];
  /** Beside what is in ours. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A process that was started. `end` says how it ended, once it has. */
export class DemoProcess {
  readonly name: string;
  readonly logFile: string;
  readonly pid: number;
  /** Settles when the process is gone. */
  readonly gone: Promise<void>;
  end: string | undefined;
  readonly #child: Bun.Subprocess;

  /** `mark` (`NAME=value`) goes into the environment, and so to what the process starts in its turn. */
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

  /** TERM, and KILL when that does not do. */
  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.kill(), STOP_MS_MAX);
    await this.gone;
    clearTimeout(timer);
  }

  /** KILL, now. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** The last lines of a log, or that there are none. */
export function tailOf(logFile: string, lines = 12): string {
  let text: string;
  try {
    text = readFileSync(logFile, "utf8");
  } catch {
    return "(no log)";
  }
  return text.trimEnd().split("\n").slice(-lines).join("\n") || "(the log is empty)";
}
