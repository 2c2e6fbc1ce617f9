/**
 * One sensor with its spool, output, log and uplink, and the process or polls that feed them. The process can be replaced while
 * the other parts stay, so that a changed config loses no frame. Created and owned by SensorPipelines. (A11, A16)
 */
import type { Clock, Log, Random } from "@fleet/daemon";
import { join } from "node:path";
import type { NodeId, SensorCounters, SensorName } from "@fleet/protocol";
import { systemSpawn } from "@fleet/supervisor";
import type { SensorConfig } from "../config/sensor.ts";
import { DiskSpool } from "../spool/disk-spool.ts";
import type { Environment } from "../process/image-env.ts";
import type { ProcessJournal } from "./process-journal.ts";
import { createSensorLog } from "../logs/create-sensor-log.ts";
import type { SensorLog } from "../logs/sensor-log.ts";
import { sensorEnvironment } from "./sensor-env.ts";
import type { SensorPlan } from "./sensor-plan.ts";
import { SensorOutput } from "./sensor-output.ts";
import type { Sensor } from "./sensor.ts";
import { createSensor } from "./create-sensor.ts";
import type { SpoolBounds } from "../spool/spool-size.ts";
import type { Spool } from "../spool/spool.ts";
import type { Uplink } from "../uplink/uplink.ts";

/** What all pipelines of an agent are made with. */
export interface PipelineContext {
  /** The image's original environment. */
  readonly image: Environment;
  readonly nodeId: NodeId;
  readonly coordinatorUrl: string;
  /** Values that no sensor may find in its environment. */
  readonly secrets: readonly string[];
  readonly stateDir: string | undefined;
  readonly spool: SpoolBounds;
  readonly processJournal: ProcessJournal;
  readonly newUplink: (sensor: SensorName, spool: Spool, log: Log) => Uplink;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A plan for a sensor that can run here. */
export type RunnablePlan = Extract<SensorPlan, { at: "runnable" }>;

/** Everything that determines how a process is run. */
interface Recipe {
  readonly plan: RunnablePlan;
  readonly env: Readonly<Record<string, string>>;
}

/** The way of one sensor's frames, from its process to the coordinator. */
export class SensorPipeline {
  readonly name: SensorName;
  readonly uplink: Uplink;
  readonly #context: PipelineContext;
  readonly #log: Log;
  readonly #spool: DiskSpool;
  readonly #output: SensorOutput;
  #recipe: Recipe;
  #sensorLog: SensorLog;
  #sensor: Sensor;

  constructor(plan: RunnablePlan, runtimes: string, context: PipelineContext) {
    const { name, lineBytesMax, log } = plan.config;
    const { clock, stateDir, newUplink } = context;
    this.name = name;
    this.#context = context;
    this.#log = context.log.child({ sensor: name });
    this.#spool = new DiskSpool({
      ...context.spool,
      dir: stateDir === undefined ? undefined : join(stateDir, "spool", name),
      clock,
      log: this.#log,
    });
    this.#output = new SensorOutput({
      spool: this.#spool,
      clock,
      log: this.#log,
      lineBytesMax,
      onDropped: (text) => this.#sensorLog.event(text),
    });
    this.uplink = newUplink(name, this.#spool, this.#log);
    this.#recipe = this.#recipeOf(plan, runtimes);
    this.#sensorLog = this.#newSensorLog(log);
    this.#sensor = this.#newSensor();
  }

  get config(): SensorConfig {
    return this.#recipe.plan.config;
  }

  /** Whether unacknowledged frames are kept for the next start. */
  get keepsFrames(): boolean {
    return this.#spool.isOnDisk;
  }

  counters(): SensorCounters {
    return this.#output.counters();
  }

  /** The last `linesMax` lines of the sensor's log, oldest first. */
  tail(linesMax: number): string[] {
    return this.#sensorLog.tail(linesMax);
  }

  /** Starts the first run, or the first poll. */
  run(): void {
    this.#spool.setBlocking(true);
    void this.#sensor.start();
  }

  /** Ends the process; frames in the spool are still sent. */
  stopSensor(deadlineMs: number): Promise<void> {
    this.#spool.setBlocking(false);
    return this.#sensor.stop(deadlineMs);
  }

  /** Whether this plan would run the same process that runs now. */
  isAsPlanned(plan: RunnablePlan, runtimes: string): boolean {
    return Bun.deepEquals(this.#recipeOf(plan, runtimes), this.#recipe, true);
  }

  /**
   * Ends the process and, if `mayRun` still allows it, runs the new one. A process that does not end by `deadlineMs` has been
   * sent SIGKILL; it is logged and not waited for.
   */
  async replace(
    plan: RunnablePlan,
    runtimes: string,
    deadlineMs: number,
    mayRun: () => boolean,
  ): Promise<void> {
    const { log: logBounds } = this.config;
    this.#spool.setBlocking(false);
    await this.#sensor
      .stop(deadlineMs)
      .catch((err: unknown) =>
        this.#log.error({ err }, "could not end the sensor in time; its process may still run"),
      );
    this.#recipe = this.#recipeOf(plan, runtimes);
    this.#output.limitLines(plan.config.lineBytesMax);
    if (!Bun.deepEquals(plan.config.log, logBounds)) {
      this.#sensorLog.close();
      this.#sensorLog = this.#newSensorLog(plan.config.log);
    }
    this.#sensor = this.#newSensor();
    if (mayRun()) this.run();
  }

  /** Closes uplink, log and spool, once the process has ended. Unacknowledged frames are written to disk, if there is one. */
  async close(deadlineMs: number): Promise<void> {
    this.#sensorLog.close();
    await this.uplink.stop(deadlineMs).finally(() => this.#spool.close());
  }

  /** Kills the process because the agent ends now. */
  kill(): void {
    this.#sensor.kill();
  }

  #recipeOf(plan: RunnablePlan, runtimes: string): Recipe {
    const { image, nodeId, coordinatorUrl, secrets } = this.#context;
    const { name: sensor, env: declared } = plan.config;
    const { virtualEnv } = plan;
    const env = sensorEnvironment({
      image,
      sensor,
      nodeId,
      coordinatorUrl,
      runtimes,
      secrets,
      declared,
      virtualEnv,
    });
    return { plan, env };
  }

  #newSensor(): Sensor {
    const { clock, random, processJournal } = this.#context;
    const { plan, env } = this.#recipe;
    return createSensor({
      config: plan.config,
      argv: plan.argv,
      user: plan.user,
      env,
      output: this.#output,
      sensorLog: this.#sensorLog,
      spawn: processJournal.tracking(this.name, systemSpawn),
      clock,
      random,
      log: this.#log,
    });
  }

  #newSensorLog({ bytesMax, files }: SensorConfig["log"]): SensorLog {
    const { stateDir, clock } = this.#context;
    return createSensorLog({ sensor: this.name, bytesMax, files, stateDir, clock, log: this.#log });
  }
}
