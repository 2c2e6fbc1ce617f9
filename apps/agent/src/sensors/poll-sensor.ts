/**
 * A sensor that is run once an interval, counted from start to start. A run that takes longer delays the next, runs never
 * overlap. One that is over its timeout is ended, by TERM and then KILL; the whole lines it printed count all the same. A
 * run that fails is told of and changes nothing: the interval goes on. Made by newSensor (sensors.ts). (A11)
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
import { howItEnded } from "./run-end.ts";
import type { Sensor, SensorOptions } from "./sensor.ts";

type PollConfig = Extract<SensorConfig, { mode: "poll" }>;

/** What one poll may print. */
const STDOUT_BYTES_MAX = 8 * 1024 * 1024;
/** Of no use: stderr is read as it comes. */
const STDERR_BYTES_MAX = 1;

/** See the head of this file. */
export class PollSensor implements Sensor {
  readonly #options: SensorOptions<PollConfig>;
  readonly #abort = new AbortController();
  readonly #complaints: LogLimiter;
  #timer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  /** The process of the run that is under way. */
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
    this.#tell(result);
  }

  readonly #spawn: Spawn = (request) => {
    this.#run++;
    const child = this.#options.spawn(request);
    this.#child = child;
    this.#options.sensorLog.started(this.#run, child.pid);
    void child.exited.then(() => (this.#child = undefined));
    return child;
  };

  /** A run that went well is no news. */
  #tell(result: RunOnceResult): void {
    const { sensorLog } = this.#options;
    switch (result.ended) {
      case "spawn_failed":
        sensorLog.event(`could not be started: ${result.message}`);
        return this.#complain(result.message, { errno: result.errno });
      case "exit": {
        const { code, signal, ranMs } = result;
        const isWell = code === 0;
        sensorLog.ended(isWell ? undefined : howItEnded(result));
        if (isWell) return this.#complaints.reset();
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
        const why = result.ended === "flood" ? "it wrote too much" : "it was over its time";
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
