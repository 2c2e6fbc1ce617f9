/**
 * A sensor that runs once per interval, counted from start to start. A longer run delays the next one; runs never overlap. A run
 * that exceeds its timeout is ended by SIGTERM, then SIGKILL; the complete lines it printed still count. A failed run is logged
 * and does not change the interval. Created by createSensor. (A11)
 */
import { LogLimiter, type Timer, withDeadline } from "@fleet/daemon";
import {
  KILL_MARGIN_MS,
  runOnce,
  type RunOnceResult,
  type Spawn,
  type SpawnedProcess,
} from "@fleet/supervisor";
import type { SensorConfig } from "../config/sensor.ts";
import { describeRunEnd } from "./run-end.ts";
import type { Sensor, SensorOptions } from "./sensor.ts";

type PollConfig = Extract<SensorConfig, { mode: "poll" }>;

/** The most that one run may print to stdout. */
const STDOUT_BYTES_MAX = 8 * 1024 * 1024;
/** `onStderr` gets all of stderr, so the buffer is not needed. */
const STDERR_BYTES_MAX = 1;

/** Runs, ends and reports the polls of one sensor. */
export class PollSensor implements Sensor {
  readonly #options: SensorOptions<PollConfig>;
  readonly #abort = new AbortController();
  readonly #complaints: LogLimiter;
  #timer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  /** The process of the current run. */
  #child: SpawnedProcess | undefined;
  #run = 0;

  constructor(options: SensorOptions<PollConfig>) {
    this.#options = options;
    this.#complaints = new LogLimiter(options.clock);
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

  async stop(deadlineMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#abort.abort();
    const leftMs = deadlineMs - KILL_MARGIN_MS - clock.monotonicMs();
    const kill = clock.after(Math.max(0, leftMs), () => this.kill());
    await withDeadline(clock, deadlineMs, this.#running).finally(() => kill.cancel());
  }

  kill(): void {
    this.#child?.signalGroup("SIGKILL");
  }

  async #runOnce(): Promise<void> {
    const { config, argv, user, env, clock, output, sensorLog } = this.#options;
    const result = await runOnce({
      command: argv,
      env,
      cwd: config.cwd,
      ...user,
      limits: config.limits,
      isExpendable: true,
      clock,
      spawn: this.#spawn,
      timeoutMs: config.timeoutMs,
      graceMs: config.stopGraceMs,
      stdoutBytesMax: STDOUT_BYTES_MAX,
      stderrBytesMax: STDERR_BYTES_MAX,
      onStderr: (chunk) => sensorLog.push(chunk),
      signal: this.#abort.signal,
    });
    if (result.ended !== "spawn_failed") {
      const room = output.push(result.stdout);
      output.end(result.ended === "exit" && result.code === 0);
      await room;
    }
    this.#report(result);
  }

  readonly #spawn: Spawn = (request) => {
    this.#run++;
    const child = this.#options.spawn(request);
    this.#child = child;
    this.#options.sensorLog.started(this.#run, child.pid);
    void child.exited.then(() => (this.#child = undefined));
    return child;
  };

  /** A successful run is not logged. */
  #report(result: RunOnceResult): void {
    const { sensorLog } = this.#options;
    switch (result.ended) {
      case "spawn_failed":
        sensorLog.event(`could not be started: ${result.message}`);
        return this.#complain(result.message, { errno: result.errno });
      case "exit": {
        const { code, signal, ranMs } = result;
        const isSuccess = code === 0;
        sensorLog.ended(isSuccess ? undefined : describeRunEnd(result));
        if (isSuccess) return this.#complaints.reset();
        return this.#complain("poll failed", {
          exit_code: code,
          signal,
          ran_ms: Math.round(ranMs),
        });
      }
      case "aborted":
        return sensorLog.ended("was stopped");
      case "timeout":
      case "flood": {
        const why = result.ended === "flood" ? "it printed more than 8 MiB" : "it timed out";
        sensorLog.ended(`was ended: ${why}`);
        const fields = { why: result.ended, ran_ms: Math.round(result.ranMs) };
        return this.#complain("poll was killed", fields);
      }
    }
  }

  #complain(message: string, fields: Record<string, unknown>): void {
    const held = this.#complaints.pass(message);
    if (held !== undefined) this.#options.log.warn({ ...fields, held_back: held }, message);
  }
}
