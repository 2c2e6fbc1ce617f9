/** `fleet-agent logs SENSOR`: prints the end of a sensor's log and, with `follow`, new lines. Works without a running agent. (A11) */
import { readdirSync, writeSync } from "node:fs";
import { type Clock, exitCodeOf, onStopSignals, sleep, type StopSignal } from "@fleet/daemon";
import { sensorNameSchema } from "@fleet/protocol";
import { DEFAULT_STATE_DIR } from "../state/state-dir.ts";
import { Follower, FOLLOW_MS } from "./follow.ts";
import { closeLog, logPath, openLog, readFrom, sensorsWithLogs, tailStart } from "./log-files.ts";

/** `stateDir` is the directory of the flag or variable; undefined: the default. The optional members are for tests. */
export interface LogsOptions {
  readonly sensor: string;
  readonly lines: number;
  readonly follow: boolean;
  readonly stateDir: string | undefined;
  readonly clock: Clock;
  /** Writes to stdout. Throws EPIPE if the reader has closed it. */
  readonly print?: (bytes: Uint8Array) => void;
  readonly complain?: (text: string) => void;
  readonly onStop?: (stop: (signal: StopSignal) => void) => void;
}

const EXIT_FAILED = 1;
/** The code of a process that SIGPIPE ended. */
const EXIT_PIPE_CLOSED = 141;
const AGAIN_MS = 10;
const AS_AGENT = "run this command as the agent's user or as root";

/**
 * Returns the exit code: 0; 1 if there is no such log, with a message on stderr; 128 + n if signal n ended `follow`; 141 if stdout
 * was closed, which is noticed at the next line.
 */
export async function runLogs(options: LogsOptions): Promise<number> {
  const { complain = (text) => void writeSync(2, `fleet-agent: ${text}\n`) } = options;
  const stateDir = options.stateDir ?? DEFAULT_STATE_DIR;
  const name = sensorNameSchema.safeParse(options.sensor);
  const path = name.success ? logPath(stateDir, name.data) : undefined;
  const files = path === undefined ? [] : openLog(path);
  const current = files.at(-1);
  if (path === undefined || current === undefined) {
    complain(missingLogProblem(options.sensor, stateDir, options.stateDir === undefined));
    return EXIT_FAILED;
  }
  const print = printer(options);
  try {
    for (const block of readFrom(files, tailStart(files, options.lines))) await print(block);
    closeLog(files.slice(0, -1));
    if (options.follow)
      return await follow(options, new Follower(path, current, current.sizeBytes), print);
    closeLog([current]);
    return 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EPIPE") return EXIT_PIPE_CLOSED;
    throw error;
  }
}

type Print = (bytes: Uint8Array) => Promise<void>;

async function follow(options: LogsOptions, follower: Follower, print: Print): Promise<number> {
  const { clock, onStop = onStopSignals } = options;
  const stopped = new AbortController();
  let exitCode = 0;
  onStop((signal) => {
    exitCode = exitCodeOf(signal);
    stopped.abort();
  });
  try {
    while (!stopped.signal.aborted) {
      for (const block of follower.read()) await print(block);
      await sleep(clock, FOLLOW_MS, stopped.signal).catch(() => {});
    }
    return exitCode;
  } finally {
    follower.close();
  }
}

/** Writes all bytes, retrying on EAGAIN, because stdout may be non-blocking. */
function printer({ print, clock }: LogsOptions): Print {
  if (print !== undefined) return async (bytes) => print(bytes);
  return async (bytes) => {
    let written = 0;
    while (written < bytes.length) {
      try {
        written += writeSync(1, bytes, written);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
        await sleep(clock, AGAIN_MS);
      }
    }
  };
}

function missingLogProblem(sensor: string, stateDir: string, isDefault: boolean): string {
  let sensors: string[];
  try {
    sensors = sensorsWithLogs(stateDir);
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && exists(stateDir)) return `no sensor has a log in ${stateDir} yet`;
    const which = isDefault ? `the default state directory ${stateDir}` : stateDir;
    const remedy =
      code === "EACCES" ? AS_AGENT : "pass the --state-dir of the agent, or set FLEET_STATE_DIR";
    return `${which} can't be read (${code}); ${remedy}`;
  }
  if (sensors.length === 0) return `no sensor has a log in ${stateDir} yet`;
  if (sensors.includes(sensor)) return `the log of ${sensor} can't be read; ${AS_AGENT}`;
  return `there is no log of ${JSON.stringify(sensor)} in ${stateDir}; sensors with a log: ${sensors.join(", ")}`;
}

function exists(dir: string): boolean {
  try {
    readdirSync(dir);
    return true;
  } catch {
    return false;
  }
}
