/** A sensor that runs all the time: one supervised child process, restarted with a backoff. Created by createSensor. (A11) */
import { LogLimiter } from "@fleet/daemon";
import {
  Child,
  type ChildState,
  type RunEnd,
  signalGroup,
  type SpawnError,
} from "@fleet/supervisor";
import type { SensorConfig } from "../config/sensor.ts";
import { describeRunEnd } from "./run-end.ts";
import type { Sensor, SensorOptions } from "./sensor.ts";

type StreamConfig = Extract<SensorConfig, { mode: "stream" }>;

/** Restarts never end: the delay grows to its cap and stays there. */
const RESTART_BACKOFF = { baseMs: 500, capMs: 30_000 };
const STABLE_AFTER_MS = 10_000;
/** How often the agent's log repeats that starts fail for the same reason. */
const SPAWN_LOG_MS = 10 * 60_000;

/** A sensor whose process is restarted as its config says; its output, stderr and events go to the sensor's output and log. */
export function streamSensor(options: SensorOptions<StreamConfig>): Sensor {
  const { config, argv, user, env, output, sensorLog, clock, random, log, spawn } = options;
  const complaints = new LogLimiter(clock, SPAWN_LOG_MS);
  const nextTry = (state: ChildState): string => {
    if (state.at !== "backoff") return "";
    return `; next start in ${seconds(state.retryAtMs - clock.monotonicMs())}`;
  };
  const child = new Child({
    clock,
    random,
    log,
    spawn,
    spec: {
      command: argv,
      env,
      cwd: config.cwd,
      ...user,
      limits: config.limits,
      isExpendable: true,
      restart: config.restart,
      backoff: RESTART_BACKOFF,
      stableAfterMs: STABLE_AFTER_MS,
      ready: "spawn",
      stopGraceMs: config.stopGraceMs,
      onStdout: (chunk) => output.push(chunk),
      onStderr: (chunk) => sensorLog.push(chunk),
      onState: (next, previous) => {
        if (next.at === "running") {
          complaints.reset();
          sensorLog.started(child.run, next.pid, argv[0]);
          log.info({ pid: next.pid }, "sensor started");
        }
        if (next.at === "backoff" && next.failures > 0 && "pid" in previous)
          sensorLog.event(`failures in a row: ${next.failures}${nextTry(next)}`);
      },
      onSpawnFailed: (error: SpawnError, run) => {
        sensorLog.event(`could not be started: ${error.message}${nextTry(child.state)}`);
        const held = complaints.pass(error.message);
        if (held !== undefined)
          log.warn({ run, errno: error.errno, held_back: held }, error.message);
      },
      onExit: (end: RunEnd) => {
        output.end(end.code === 0);
        sensorLog.ended(describeRunEnd(end));
        const { code, signal, ranMs } = end;
        log.info({ exit_code: code, signal, ran_ms: Math.round(ranMs) }, "sensor ended");
      },
    },
  });
  return {
    start: () => child.start(),
    stop: (deadlineMs) => child.stop(deadlineMs),
    kill: () => {
      if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
    },
  };
}

function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
}
