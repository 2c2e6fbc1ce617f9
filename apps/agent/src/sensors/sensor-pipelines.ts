/**
 * All sensors of an agent that can run here, each in a line of its own, and those that can't, with the reason. Starts and
 * stops them, and takes up a changed config while the others go on untouched. Called by Agent. (A8, A11)
 */
import type { Log } from "@fleet/daemon";
import type { SensorCounters, SensorInfo } from "@fleet/protocol";
import { type LineContext, type RunnablePlan, SensorPipeline } from "./sensor-pipeline.ts";
import type { SensorPlan } from "./sensor-plan.ts";

/** What a sensor is to do: one plan for each, and the value of FLEET_AGENT_RUNTIMES for images that set none. */
export interface SensorPlans {
  readonly plans: readonly SensorPlan[];
  readonly runtimes: string;
}

/** What a new config came to, by names of sensors. */
export interface Reconfigured {
  readonly started: readonly string[];
  readonly restarted: readonly string[];
  readonly stopped: readonly string[];
}

/** Longest text of a problem that the coordinator is told. (protocol: `problem`) */
const PROBLEM_LENGTH_MAX = 512;
/** Of all of them: a registration has a largest size, and more than this is left for the rest of it. */
const PROBLEMS_LENGTH_MAX = 64 * 1024;
/** Beyond a sensor's grace, for its KILL to take effect. */
const STOP_MARGIN_MS = 2000;
/** How long the frames of a sensor that is taken out may take to be acknowledged. */
const DRAIN_MS_MAX = 5000;

/** See the head of this file. */
export class SensorPipelines {
  readonly #context: LineContext;
  #lines: readonly SensorPipeline[] = [];
  #planned: SensorPlans;
  #isRunning = false;
  #isStopping = false;
  /** One reconfiguration at a time. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor(planned: SensorPlans, context: LineContext) {
    this.#context = context;
    this.#planned = planned;
    this.#lines = runnable(planned).map((plan) => this.#newLine(plan));
    this.#tellUnavailable(planned.plans);
  }

  /** As the coordinator is told: what can run, and what can't, with why. */
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
    return Object.fromEntries(this.#lines.map((line) => [line.name, line.counters()]));
  }

  /** The last lines of a sensor's log, oldest first; undefined when there is no such sensor. */
  tail(sensor: string, linesMax: number): string[] | undefined {
    return this.#lines.find(({ name }) => name === sensor)?.tail(linesMax);
  }

  /** There is a new grant. */
  granted(): void {
    for (const { uplink } of this.#lines) uplink.granted();
  }

  /** Frames may go to the coordinator. */
  connect(): void {
    for (const { uplink } of this.#lines) uplink.start();
  }

  /** Sensors run from here on. No-op once stopping. */
  run(): void {
    if (this.#isStopping || this.#isRunning) return;
    this.#isRunning = true;
    for (const line of this.#lines) line.run();
  }

  /**
   * Takes up new plans: sensors that are gone are stopped and drained, new ones started, changed ones restarted with their
   * spool and uplink kept; the rest isn't touched. One after the other when called again meanwhile; nothing once stopping.
   */
  reconfigure(planned: SensorPlans): Promise<Reconfigured> {
    const done = this.#busy.then(() => this.#reconfigure(planned));
    this.#busy = done.catch(() => {});
    return done;
  }

  /** Ends every process by `deadlineMs`; nothing is started any more. */
  async stopSensors(deadlineMs: number): Promise<void> {
    this.#isStopping = true;
    await this.#each("sensor", (line) => line.stopSensor(deadlineMs));
  }

  /** Waits until every frame is acknowledged, or until `deadlineMs`, and says what is left. */
  async drain(deadlineMs: number): Promise<void> {
    await this.#each("spool", ({ uplink }) => uplink.drain(deadlineMs));
  }

  tellFramesLeft(): void {
    for (const line of this.#lines) tellLeft(line, this.#context.log);
  }

  async close(deadlineMs: number): Promise<void> {
    await this.#each("uplink", (line) => line.close(deadlineMs));
  }

  kill(): void {
    for (const line of this.#lines) line.kill();
  }

  async #reconfigure(planned: SensorPlans): Promise<Reconfigured> {
    if (this.#isStopping) return { started: [], restarted: [], stopped: [] };
    this.#tellUnavailable(planned.plans.filter((plan) => !this.#isKnownProblem(plan)));
    this.#planned = planned;
    const plans = new Map(runnable(planned).map((plan) => [plan.config.name, plan]));
    const gone = this.#lines.filter(({ name }) => !plans.has(name));
    const changed = this.#lines.flatMap((line) => {
      const plan = plans.get(line.name);
      if (plan === undefined || line.isAsPlanned(plan, planned.runtimes)) return [];
      return [{ line, plan }];
    });
    for (const { name } of this.#lines) plans.delete(name);
    const added = [...plans.values()].map((plan) => this.#newLine(plan));
    // Those that go stay among the lines until they are gone, so that a stop meanwhile finds them.
    this.#lines = [...this.#lines, ...added];
    for (const line of added) {
      line.uplink.start();
      if (this.#isRunning) line.run();
    }
    await Promise.all([
      ...changed.map(({ line, plan }) =>
        line.replace(plan, planned.runtimes, this.#stopBy(line), () => this.#mayRun()),
      ),
      ...gone.map((line) => this.#remove(line)),
    ]);
    this.#lines = this.#lines.filter((line) => !gone.includes(line));
    return {
      started: added.map(({ name }) => name),
      restarted: changed.map(({ line }) => line.name),
      stopped: gone.map(({ name }) => name),
    };
  }

  async #remove(line: SensorPipeline): Promise<void> {
    const { clock, log } = this.#context;
    try {
      await line.stopSensor(this.#stopBy(line));
    } catch (err) {
      log.error({ sensor: line.name, err }, "the sensor could not be ended in time");
      line.kill();
    }
    await line.uplink.drain(clock.monotonicMs() + DRAIN_MS_MAX).catch(() => {});
    tellLeft(line, log);
    await line.close(clock.monotonicMs() + DRAIN_MS_MAX).catch(() => {});
  }

  #mayRun(): boolean {
    return this.#isRunning && !this.#isStopping;
  }

  #stopBy(line: SensorPipeline): number {
    return this.#context.clock.monotonicMs() + line.config.stopGraceMs + STOP_MARGIN_MS;
  }

  #newLine(plan: RunnablePlan): SensorPipeline {
    return new SensorPipeline(plan, this.#planned.runtimes, this.#context);
  }

  #isKnownProblem(plan: SensorPlan): boolean {
    return this.#planned.plans.some((known) => Bun.deepEquals(known, plan));
  }

  #tellUnavailable(plans: readonly SensorPlan[]): void {
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

  /** Does `stop` to every line at once; one that fails does not keep the others. */
  async #each(part: string, stop: (line: SensorPipeline) => Promise<void>): Promise<void> {
    const lines = this.#lines;
    const results = await Promise.allSettled(lines.map(stop));
    for (const [index, result] of results.entries()) {
      if (result.status === "fulfilled") continue;
      const sensor = lines[index]?.name;
      this.#context.log.warn({ sensor, err: result.reason }, `could not stop the ${part} in time`);
    }
  }
}

function runnable({ plans }: SensorPlans): RunnablePlan[] {
  return plans.filter((plan) => plan.at === "runnable");
}

function tellLeft({ name, uplink, keepsFrames }: SensorPipeline, log: Log): void {
  const frames = uplink.framesLeft;
  if (frames === 0) return;
  if (keepsFrames)
    log.info({ sensor: name, frames }, "frames wait in the spool for the next start");
  else log.warn({ sensor: name, frames }, "frames are left behind");
}
