/**
 * Runs sensors as they are planned: `stream` ones for ever under supervision, `poll` ones once an interval. Output goes to
 * the sensor's SensorOutput, stderr to the log. (A11)
 */
import {
  type Clock,
  type Log,
  type Random,
  type Service,
  type Timer,
  withDeadline,
} from "@fleet/daemon";
import { Child, type RunEnd, runOnce, type SpawnedProcess, systemSpawn } from "@fleet/supervisor";
import type { SensorConfig } from "./config-sensor.ts";
import { SensorLog } from "./sensor-log.ts";
import type { SensorOutput } from "./sensor-output.ts";

/** What a sensor's runs need; `argv` and `env` are complete. */
export interface SensorOptions<C extends SensorConfig = SensorConfig> {
  readonly config: C;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly output: SensorOutput;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A sensor that is run. */
export interface Sensor extends Service {
  /** For when the agent has to end at once: kills what runs, waits for nothing. */
  kill(): void;
}

type StreamConfig = Extract<SensorConfig, { mode: "stream" }>;
type PollConfig = Extract<SensorConfig, { mode: "poll" }>;

/** From TERM to KILL. */
const STOP_GRACE_MS = 3000;
const RESTART_BACKOFF = { baseMs: 500, capMs: 30_000 };
const STABLE_AFTER_MS = 10_000;
/** What one poll may print. */
const POLL_STDOUT_BYTES_MAX = 8 * 1024 * 1024;
const POLL_STDERR_BYTES_MAX = 64 * 1024;

/** A sensor that is ready to be started. */
export function newSensor(options: SensorOptions): Sensor {
  const { config } = options;
  return config.mode === "stream"
    ? streamSensor({ ...options, config })
    : new PollSensor({ ...options, config });
}

function streamSensor(options: SensorOptions<StreamConfig>): Sensor {
  const { config, argv, env, output, clock, random, log } = options;
  const stderr = new SensorLog(clock, log);
  const child = new Child({
    clock,
    random,
    log,
    spec: {
      command: argv,
      env,
      cwd: config.cwd,
      restart: config.restart,
      backoff: RESTART_BACKOFF,
      stableAfterMs: STABLE_AFTER_MS,
      ready: "spawn",
      stopGraceMs: STOP_GRACE_MS,
      onStdout: (chunk) => output.push(chunk),
      onStderr: (chunk) => stderr.push(chunk),
      onState: (next) => {
        if (next.at === "running") log.info({ pid: next.pid }, "sensor started");
      },
      onExit: (end: RunEnd) => {
        output.end(end.code === 0);
        const { code, signal, ranMs } = end;
        log.info({ exit_code: code, signal, ran_ms: Math.round(ranMs) }, "sensor ended");
      },
    },
  });
  return {
    start: () => child.start(),
    stop: (deadlineMs) => child.stop(deadlineMs),
    kill: () => {
      if (child.pid !== undefined) killGroup(child.pid);
    },
  };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}

/**
 * Runs its command each interval, counted from start to start; a run that takes longer delays the next, runs never overlap.
 * A run that is over its timeout is killed; the whole lines it printed count all the same.
 */
class PollSensor implements Sensor {
  readonly #options: SensorOptions<PollConfig>;
  readonly #stderr: SensorLog;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  /** The process of the run that is under way. */
  #child: SpawnedProcess | undefined;

  constructor(options: SensorOptions<PollConfig>) {
    this.#options = options;
    this.#stderr = new SensorLog(options.clock, options.log);
  }

  start(): void {
    const { clock, config } = this.#options;
    const startedMs = clock.monotonicMs();
    this.#running = this.#runOnce().then(() => {
      if (this.#abort.signal.aborted) return;
      const nextMs = startedMs + config.intervalMs - clock.monotonicMs();
      this.#timer = clock.after(Math.max(0, nextMs), () => this.start());
    });
  }

  stop(deadlineMs: number): Promise<void> {
    this.#timer?.cancel();
    this.#abort.abort();
    return withDeadline(this.#options.clock, deadlineMs, this.#running);
  }

  kill(): void {
    this.#child?.signalGroup("SIGKILL");
  }

  async #runOnce(): Promise<void> {
    const { config, argv, env, output, clock, log } = this.#options;
    const result = await runOnce({
      command: argv,
      env,
      cwd: config.cwd,
      clock,
      spawn: (request) => (this.#child = systemSpawn(request)),
      timeoutMs: config.timeoutMs,
      stdoutBytesMax: POLL_STDOUT_BYTES_MAX,
      stderrBytesMax: POLL_STDERR_BYTES_MAX,
      signal: this.#abort.signal,
    });
    this.#child = undefined;
    if (result.ended === "spawn_failed") return log.warn({ errno: result.errno }, result.message);
    output.push(result.stdout);
    output.end(result.ended === "exit" && result.code === 0);
    this.#stderr.push(result.stderr);
    if (result.ended === "exit" && result.code === 0) return;
    if (result.ended === "exit")
      log.warn({ exit_code: result.code, signal: result.signal }, "poll failed");
    else if (result.ended !== "aborted")
      log.warn({ why: result.ended, ran_ms: Math.round(result.ranMs) }, "poll was killed");
  }
}
