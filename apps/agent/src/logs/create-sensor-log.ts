/** Creates the log of one sensor: in rotated files of the state directory, or in memory without one. */
import type { Clock, Log } from "@fleet/daemon";
import type { SensorName } from "@fleet/protocol";
import { logPath } from "./log-files.ts";
import { memoryStore } from "./log-store.ts";
import { RotatedFile } from "./rotated-file.ts";
import { SensorLog } from "./sensor-log.ts";
import { StderrEcho } from "./stderr-echo.ts";

/** How much of the log is kept is `files` times `bytesMax`. */
export interface SensorLogOptions {
  readonly sensor: SensorName;
  readonly bytesMax: number;
  readonly files: number;
  readonly stateDir: string | undefined;
  readonly clock: Clock;
  /** The agent's log, to which part of stderr is copied. */
  readonly log: Log;
}

/** A log that is ready for the sensor's first run. */
export function createSensorLog(options: SensorLogOptions): SensorLog {
  const { sensor, bytesMax, files, stateDir, clock, log } = options;
  const store =
    stateDir === undefined
      ? memoryStore()
      : new RotatedFile({ path: logPath(stateDir, sensor), bytesMax, files, clock, log });
  const echo = new StderrEcho(clock, log);
  return new SensorLog({ store, burstBytes: bytesMax * files, echo, clock });
}
