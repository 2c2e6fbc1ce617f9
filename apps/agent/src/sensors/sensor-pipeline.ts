/**
 * One sensor with all that belongs to it: spool, output, log, uplink, and the process or polls that feed them. The process can
 * be replaced while the rest stays, so that a changed config loses no frame. Made and kept by SensorPipelines. (A11, A16)
 */
import type { Clock, Log, Random } from "@fleet/daemon";
import { join } from "node:path";
import type { NodeId, SensorCounters, SensorName } from "@fleet/protocol";
import { systemSpawn } from "@fleet/supervisor";
import type { SensorConfig } from "../config/sensor.ts";
import { DiskSpool } from "../spool/disk-spool.ts";
import type { Environment } from "../process/image-env.ts";
import type { ProcessJournal } from "./process-journal.ts";
import { logPath } from "../logs/log-files.ts";
import { type LogStore, memoryStore } from "../logs/log-store.ts";
import { RotatedFile } from "../logs/rotated-file.ts";
import { SensorLog } from "../logs/sensor-log.ts";
import { StderrEcho } from "../logs/stderr-echo.ts";
import { sensorEnvironment } from "./sensor-env.ts";
import type { SensorPlan } from "./sensor-plan.ts";
import { SensorOutput } from "./sensor-output.ts";
import type { Sensor } from "./sensor.ts";
import { newSensor } from "./new-sensor.ts";
import type { SpoolBounds } from "../spool/spool-size.ts";
import type { Spool } from "../spool/spool.ts";
import type { Uplink } from "../uplink/uplink.ts";

/** What all lines of an agent are made with. */
export interface LineContext {
  /** The image's environment as it was. */
  readonly image: Environment;
  readonly nodeId: NodeId;
  readonly coordinatorUrl: string;
  /** What no sensor may find in its environment. */
  readonly secrets: readonly string[];
  readonly stateDir: string | undefined;
  readonly spool: SpoolBounds;
  readonly processJournal: ProcessJournal;
  readonly newUplink: (sensor: SensorName, spool: Spool, log: Log) => Uplink;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A plan that can be carried out. */
export type RunnablePlan = Extract<SensorPlan, { at: "runnable" }>;

/** All that decides how a process is run. */
interface Recipe {
  readonly plan: RunnablePlan;
  readonly env: Readonly<Record<string, string>>;
}

/** A line of frames; see the head of this file. */
export class SensorPipeline {
  readonly name: SensorName;
  readonly uplink: Uplink;
  readonly #context: LineContext;
  readonly #log: Log;
  readonly #spool: DiskSpool;
  readonly #output: SensorOutput;
  #recipe: Recipe;
  #sensorLog: SensorLog;
  #sensor: Sensor;

  constructor(plan: RunnablePlan, runtimes: string, context: LineContext) {
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

  /** Frames that are left at the end are there at the next start. */
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

  /** Begins the first run, or the first poll. */
  run(): void {
    this.#spool.setBlocking(true);
    void this.#sensor.start();
  }

  /** Ends the process; frames that are there already go on to the coordinator. */
  stopSensor(deadlineMs: number): Promise<void> {
    this.#spool.setBlocking(false);
    return this.#sensor.stop(deadlineMs);
  }

  /** Whether this plan would run the very process that runs now. */
  isAsPlanned(plan: RunnablePlan, runtimes: string): boolean {
    return Bun.deepEquals(this.#recipeOf(plan, runtimes), this.#recipe, true);
  }

  /**
   * Ends the process and, while `mayRun` still says so, runs the one that is planned now. One that can't be ended by
   * `deadlineMs` was sent KILL and does nothing more: it is told of, and not waited for.
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
      .catch((err: unknown) => this.#log.error({ err }, "the sensor could not be ended in time"));
    this.#recipe = this.#recipeOf(plan, runtimes);
    this.#output.limitLines(plan.config.lineBytesMax);
    if (!Bun.deepEquals(plan.config.log, logBounds)) {
      this.#sensorLog.close();
      this.#sensorLog = this.#newSensorLog(plan.config.log);
    }
    this.#sensor = this.#newSensor();
    if (mayRun()) this.run();
  }

  /** Closes the connection, the log and the spool; the process has ended before. What is left goes to disk, where there is one. */
  async close(deadlineMs: number): Promise<void> {
    this.#sensorLog.close();
    await this.uplink.stop(deadlineMs).finally(() => this.#spool.close());
  }

  /** The agent ends now: leaves no process behind. */
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
    return newSensor({
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
    const path = stateDir === undefined ? undefined : logPath(stateDir, this.name);
    const store: LogStore =
      path === undefined
        ? memoryStore()
        : new RotatedFile({ path, bytesMax, files, clock, log: this.#log });
    return new SensorLog({
      store,
      burstBytes: bytesMax * files,
      echo: new StderrEcho(clock, this.#log),
      clock,
    });
  }
}
