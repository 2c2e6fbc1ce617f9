/**
 * The pipelines of all sensors that can run here, and the sensors that can't, with the reason. Starts and stops them, and
 * applies a changed config without touching unchanged sensors. Used by Agent. (A8, A11)
 */
import type { Log } from "@fleet/daemon";
import type { SensorCounters, SensorInfo } from "@fleet/protocol";
import { endLeftovers } from "./end-leftovers.ts";
import { type JournalEntry, ProcessJournal, readProcessJournal } from "./process-journal.ts";
import { type PipelineContext, type RunnablePlan, SensorPipeline } from "./sensor-pipeline.ts";
import type { SensorPlan } from "./sensor-plan.ts";

/** One plan per sensor, and the value of FLEET_AGENT_RUNTIMES for images that do not set it. */
export interface SensorPlans {
  readonly plans: readonly SensorPlan[];
  readonly runtimes: string;
}

/** The effect of a new config, by names of sensors. */
export interface Reconfigured {
  readonly started: readonly string[];
  readonly restarted: readonly string[];
  readonly stopped: readonly string[];
}

/** The longest `problem` that the protocol allows. */
const PROBLEM_LENGTH_MAX = 512;
/** For all problems together: a register request is bounded, and the rest of it needs room, too. */
const PROBLEMS_LENGTH_MAX = 64 * 1024;
/** Time for a SIGKILL to take effect after a sensor's grace. */
const STOP_MARGIN_MS = 2000;
/** How long a removed sensor waits for its frames to be acknowledged. */
const DRAIN_MS_MAX = 5000;

/** What the pipelines of an agent are made with. */
export type SensorPipelinesOptions = Omit<PipelineContext, "processJournal">;

/** All sensors of one agent. It records their processes, and ends those of a killed agent before it runs the first one. */
export class SensorPipelines {
  readonly #context: PipelineContext;
  /** Processes that an earlier agent may have left running. */
  readonly #leftovers: readonly JournalEntry[];
  #pipelines: readonly SensorPipeline[] = [];
  #planned: SensorPlans;
  #isRunning = false;
  #isStopping = false;
  /** One reconfiguration at a time. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor(planned: SensorPlans, options: SensorPipelinesOptions) {
    const { stateDir, log } = options;
    // Read before the first process overwrites it.
    this.#leftovers = stateDir === undefined ? [] : readProcessJournal(stateDir, log);
    this.#context = { ...options, processJournal: new ProcessJournal(stateDir, log) };
    this.#planned = planned;
    this.#pipelines = runnable(planned).map((plan) => this.#newPipeline(plan));
    this.#logUnavailable(planned.plans);
  }

  /** The sensors as a register request lists them: those that can run, and those that can't with their problem. */
  infos(): SensorInfo[] {
    const { plans } = this.#planned;
    const unavailable = plans.filter(({ at }) => at === "unavailable").length;
    const lengthMax = Math.min(PROBLEM_LENGTH_MAX, Math.floor(PROBLEMS_LENGTH_MAX / unavailable));
    return plans.map((plan) => {
      const { name, runtime, mode } = plan.config;
      if (plan.at === "runnable") return { name, runtime, mode };
      const problem = `${plan.reason}; ${plan.remedy}`.slice(0, lengthMax);
      return { name, runtime, mode, problem };
    });
  }

  counters(): Record<string, SensorCounters> {
    return Object.fromEntries(
      this.#pipelines.map((pipeline) => [pipeline.name, pipeline.counters()]),
    );
  }

  /** The last lines of a sensor's log, oldest first; undefined if there is no such sensor. */
  tail(sensor: string, linesMax: number): string[] | undefined {
    return this.#pipelines.find(({ name }) => name === sensor)?.tail(linesMax);
  }

  /** Uses a new grant. */
  granted(): void {
    for (const { uplink } of this.#pipelines) uplink.granted();
  }

  /** Starts the uplinks. */
  connect(): void {
    for (const { uplink } of this.#pipelines) uplink.start();
  }

  /** Ends leftover processes, then runs the sensors. Does nothing once stopping. */
  async start(): Promise<void> {
    const { clock, log } = this.#context;
    if (this.#leftovers.length > 0) await endLeftovers({ entries: this.#leftovers, clock, log });
    this.run();
  }

  /** Runs the sensors, at once. Does nothing once stopping. */
  run(): void {
    if (this.#isStopping || this.#isRunning) return;
    this.#isRunning = true;
    for (const pipeline of this.#pipelines) pipeline.run();
  }

  /**
   * Applies new plans: removed sensors are stopped and drained, new ones started, changed ones restarted with their spool and
   * uplink kept; the others are not touched. Concurrent calls run one after the other. Does nothing once stopping.
   */
  reconfigure(planned: SensorPlans): Promise<Reconfigured> {
    const done = this.#busy.then(() => this.#reconfigure(planned));
    this.#busy = done.catch(() => {});
    return done;
  }

  /** Ends every process by `deadlineMs`; no process is started afterwards. */
  async stopSensors(deadlineMs: number): Promise<void> {
    this.#isStopping = true;
    await this.#each("sensor", (pipeline) => pipeline.stopSensor(deadlineMs));
  }

  /** Waits until every frame is acknowledged, or until `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    await this.#each("spool", ({ uplink }) => uplink.drain(deadlineMs));
  }

  /** Logs how many frames are not acknowledged. */
  logFramesLeft(): void {
    for (const pipeline of this.#pipelines) logFramesLeft(pipeline, this.#context.log);
  }

  async close(deadlineMs: number): Promise<void> {
    await this.#each("uplink", (pipeline) => pipeline.close(deadlineMs));
  }

  kill(): void {
    for (const pipeline of this.#pipelines) pipeline.kill();
  }

  async #reconfigure(planned: SensorPlans): Promise<Reconfigured> {
    if (this.#isStopping) return { started: [], restarted: [], stopped: [] };
    this.#logUnavailable(planned.plans.filter((plan) => !this.#isKnownProblem(plan)));
    this.#planned = planned;
    const plans = new Map(runnable(planned).map((plan) => [plan.config.name, plan]));
    const gone = this.#pipelines.filter(({ name }) => !plans.has(name));
    const changed = this.#pipelines.flatMap((pipeline) => {
      const plan = plans.get(pipeline.name);
      if (plan === undefined || pipeline.isAsPlanned(plan, planned.runtimes)) return [];
      return [{ pipeline, plan }];
    });
    for (const { name } of this.#pipelines) plans.delete(name);
    const added = [...plans.values()].map((plan) => this.#newPipeline(plan));
    // Removed pipelines stay in the list until they are closed, so that a stop in the meantime reaches them.
    this.#pipelines = [...this.#pipelines, ...added];
    for (const pipeline of added) {
      pipeline.uplink.start();
      if (this.#isRunning) pipeline.run();
    }
    await Promise.all([
      ...changed.map(({ pipeline, plan }) =>
        pipeline.replace(plan, planned.runtimes, this.#stopBy(pipeline), () => this.#mayRun()),
      ),
      ...gone.map((pipeline) => this.#remove(pipeline)),
    ]);
    this.#pipelines = this.#pipelines.filter((pipeline) => !gone.includes(pipeline));
    return {
      started: added.map(({ name }) => name),
      restarted: changed.map(({ pipeline }) => pipeline.name),
      stopped: gone.map(({ name }) => name),
    };
  }

  async #remove(pipeline: SensorPipeline): Promise<void> {
    const { clock, log } = this.#context;
    try {
      await pipeline.stopSensor(this.#stopBy(pipeline));
    } catch (err) {
      log.error(
        { sensor: pipeline.name, err },
        "could not end the sensor in time; its process may still run",
      );
      pipeline.kill();
    }
    await pipeline.uplink.drain(clock.monotonicMs() + DRAIN_MS_MAX).catch(() => {});
    logFramesLeft(pipeline, log);
    await pipeline.close(clock.monotonicMs() + DRAIN_MS_MAX).catch(() => {});
  }

  #mayRun(): boolean {
    return this.#isRunning && !this.#isStopping;
  }

  #stopBy(pipeline: SensorPipeline): number {
    return this.#context.clock.monotonicMs() + pipeline.config.stopGraceMs + STOP_MARGIN_MS;
  }

  #newPipeline(plan: RunnablePlan): SensorPipeline {
    return new SensorPipeline(plan, this.#planned.runtimes, this.#context);
  }

  #isKnownProblem(plan: SensorPlan): boolean {
    return this.#planned.plans.some((known) => Bun.deepEquals(known, plan));
  }

  #logUnavailable(plans: readonly SensorPlan[]): void {
    for (const plan of plans) {
      if (plan.at === "runnable") continue;
      const { name: sensor, runtime } = plan.config;
      const { reason, remedy } = plan;
      this.#context.log.error(
        { sensor, runtime, remedy },
        `sensor ${sensor} can't run here: ${reason}`,
      );
    }
  }

  /** Calls `stop` for every pipeline concurrently; a failure does not affect the others. */
  async #each(part: string, stop: (pipeline: SensorPipeline) => Promise<void>): Promise<void> {
    const pipelines = this.#pipelines;
    const results = await Promise.allSettled(pipelines.map(stop));
    for (const [index, result] of results.entries()) {
      if (result.status === "fulfilled") continue;
      const sensor = pipelines[index]?.name;
      this.#context.log.warn({ sensor, err: result.reason }, `could not stop the ${part} in time`);
    }
  }
}

function runnable({ plans }: SensorPlans): RunnablePlan[] {
  return plans.filter((plan) => plan.at === "runnable");
}

function logFramesLeft({ name, uplink, keepsFrames }: SensorPipeline, log: Log): void {
  const frames = uplink.framesLeft;
  if (frames === 0) return;
  if (keepsFrames)
    log.info({ sensor: name, frames }, "frames stay in the spool until the next start");
  else
    log.warn(
      { sensor: name, frames },
      "frames are lost: they are not acknowledged and there is no spool on disk",
    );
}
