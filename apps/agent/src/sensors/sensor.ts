/** The interface and the construction options that stream and poll sensors share. (A11) */
import type { Clock, Log, Random, Service } from "@fleet/daemon";
import type { Spawn } from "@fleet/supervisor";
import type { SensorConfig } from "../config/sensor.ts";
import type { SensorLog } from "../logs/sensor-log.ts";
import type { SensorUser } from "./sensor-host.ts";
import type { SensorOutput } from "./sensor-output.ts";

/** What a sensor's runs need; `argv` and `env` are complete. */
export interface SensorOptions<C extends SensorConfig = SensorConfig> {
  readonly config: C;
  readonly argv: readonly string[];
  /** Undefined: the agent's own user. */
  readonly user: SensorUser | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly output: SensorOutput;
  readonly sensorLog: SensorLog;
  readonly spawn: Spawn;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A sensor that the agent runs. */
export interface Sensor extends Service {
  /** Kills its process immediately, without waiting for the end. */
  kill(): void;
}
