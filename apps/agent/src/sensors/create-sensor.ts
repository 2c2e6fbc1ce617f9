/** Creates the sensor that a plan describes: a stream or a poll sensor, whose starts also report a replaced program. (A11) */
import type { Spawn } from "@fleet/supervisor";
import { PollSensor } from "./poll-sensor.ts";
import { ProgramWatch } from "./program-watch.ts";
import type { Sensor, SensorOptions } from "./sensor.ts";
import { streamSensor } from "./stream-sensor.ts";

/** A sensor that is ready to be started. */
export function createSensor(options: SensorOptions): Sensor {
  const { config } = options;
  const spawn = watchedSpawn(options);
  return config.mode === "stream"
    ? streamSensor({ ...options, config, spawn })
    : new PollSensor({ ...options, config, spawn });
}

/** `spawn` that reports when the program is no longer the file the sensor was planned with. */
function watchedSpawn({ argv, spawn, log, sensorLog }: SensorOptions): Spawn {
  const program = new ProgramWatch(argv[0]!);
  return (request) => {
    const change = program.change();
    if (change !== undefined) {
      log.warn({}, change);
      sensorLog.event(change);
    }
    return spawn(request);
  };
}
