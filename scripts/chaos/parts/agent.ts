/**
 * One agent of the chaos test through all its lives: it is started, killed, stopped and frozen again and again, with the same
 * state directory. Records for each life which frames had to survive it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dist } from "../../lib/build-binaries.ts";
import { committedFrames, numberOf, readSensorRuns, runOf } from "../frames.ts";
import type { Disk } from "./disk.ts";
import { RestartedProcess, type Surroundings } from "./restarted-process.ts";

/** What the agent's spool does when it is full. It decides which frames may be missing. */
export type Policy = "keeps_all" | "blocks" | "drops";

const POLL_MS = 50;
/** Lets sensors print on while the coordinator is out of reach, so that some frames are on disk only. */
const PRINT_ON_MS = 150;
const SETTLE_MS_MAX = 20_000;
const EXIT_TERM = "exit code 143";
const KILLED_BY_TERM = "killed by SIGTERM";
/** Part of the agent's log message when it cannot open its spool directory. */
const IN_MEMORY = "the spool is in memory only";

/** One of the agent's two sensors. */
export interface ChaosSensor {
  readonly name: string;
  readonly stream: string;
  /** The directory of its records. While it holds a file `hold`, the sensor prints nothing. */
  readonly records: string;
  readonly spool: string;
}

/** One life of the agent. It ends `soft` if the agent stopped on request and its disk took every write, otherwise `hard`. */
export interface Life {
  end: "open" | "soft" | "hard";
  /** For a hard end: the last frames that must arrive. */
  readonly promised: LastFrames;
  /** For a hard end: the last frames that were on disk, and are therefore counted. */
  readonly written: LastFrames;
}

/** The number of the last frame, by stream and run. */
export type LastFrames = Map<string, Map<number, number>>;

/** What the fleet passes to an agent. */
export interface ChaosAgentOptions extends Surroundings {
  readonly sensorProgram: string;
  readonly coordinatorUrl: string;
  readonly enrollTokenFile: string;
  readonly disk: Disk | undefined;
  /** Returns the last frame of a stream's run that its trackers have recorded. */
  readonly lastArrived: (stream: string, run: number) => number;
}

const POLICIES: readonly Policy[] = ["keeps_all", "blocks", "drops"];
const SPOOLS: Record<Policy, string> = {
  keeps_all: "{ bytes_max: 64MiB }",
  blocks: "{ bytes_max: 128KiB, on_full: block }",
  drops: "{ bytes_max: 64KiB, on_full: drop_oldest }",
};
/** `rate` is in frames per second; `padBytesMax` bounds the padding of a frame. */
const SENSORS = [
  { name: "quick", rate: 400, padBytesMax: 300 },
  { name: "wide", rate: 60, padBytesMax: 20_000 },
] as const;

/** An agent with two sensors. */
export class ChaosAgent {
  readonly name: string;
  readonly policy: Policy;
  readonly sensors: readonly ChaosSensor[];
  readonly lives: Life[] = [];
  readonly #options: ChaosAgentOptions;
  readonly #process: RestartedProcess;
  /** An action on this agent is under way. */
  isBusy = false;
  /** `killSettled` is waiting for the agent to write everything to disk. */
  isSettling = false;
  /** Offset in the log file at which the current life begins. */
  #logAt = 0;

  constructor(index: number, options: ChaosAgentOptions) {
    this.name = `agent${index}`;
    this.policy = POLICIES[index % POLICIES.length]!;
    this.#options = options;
    this.#process = new RestartedProcess(this.name, options);
    this.sensors = SENSORS.map(({ name }) => ({
      name,
      stream: `${this.name}.${name}`,
      records: join(options.dir, "sensors", `${this.name}.${name}`),
      spool: join(this.#stateDir, "spool", name),
    }));
    for (const { records } of this.sensors) mkdirSync(records, { recursive: true });
    mkdirSync(join(options.dir, this.name), { recursive: true });
    writeFileSync(this.#configFile, this.#config());
  }

  get disk(): Disk | undefined {
    return this.#options.disk;
  }

  get isUp(): boolean {
    return this.#process.isUp;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get logFile(): string {
    return join(this.#options.dir, "logs", `${this.name}.log`);
  }

  start(): void {
    this.lives.push({ end: "open", promised: new Map(), written: new Map() });
    this.#logAt = existsSync(this.logFile) ? statSync(this.logFile).size : 0;
    this.#process.start({
      name: this.name,
      path: join(dist, "fleet-agent"),
      args: ["run", "--config", this.#configFile, "--state-dir", this.#stateDir],
      env: { CHAOS_LIFE: String(this.lives.length) },
    });
    this.#process.forbidEnd();
  }

  /** Sends SIGKILL. The frames on disk at that moment are promised. */
  async kill(): Promise<void> {
    await this.#process.kill();
    this.#recordHardEnd();
  }

  /**
   * Sends SIGKILL at a moment when everything the sensors have printed is on disk or has arrived, and promises all of it.
   * Returns false if there is no such moment.
   */
  async killSettled(): Promise<boolean> {
    // With a spool that blocks, printed frames wait in the sensor's pipe.
    if (this.policy === "blocks" || this.disk?.isFull === true || this.#isInMemory) return false;
    this.isSettling = true;
    await Bun.sleep(PRINT_ON_MS);
    this.hold(true);
    const isSettled = await this.#untilSettled();
    this.isSettling = false;
    if (isSettled) {
      const life = this.lives.at(-1)!;
      for (const sensor of this.sensors)
        for (const { run, done, life: of } of readSensorRuns(sensor.records))
          if (of === this.lives.length) note(life.promised, sensor.stream, run, done);
      await this.kill();
    }
    this.hold(false);
    return isSettled;
  }

  /** Sends SIGTERM. Any end but an orderly stop is a violation. */
  async stop(): Promise<void> {
    const { disk } = this;
    const wasFull = disk?.isFull === true;
    const fills = disk?.fills;
    const end = await this.#process.stop();
    // Before it starts its sensors, an agent may end like any program that does not handle SIGTERM.
    const isWell = end === EXIT_TERM || (end === KILLED_BY_TERM && !this.#hasStartedSensors);
    if (!isWell)
      this.#options.reportViolation(`${this.name} was asked to stop and ended with ${end}`);
    const isDiskBad = wasFull || disk?.fills !== fills || this.#isInMemory;
    if (isDiskBad || !isWell) this.#recordHardEnd();
    else this.lives.at(-1)!.end = "soft";
  }

  freeze(): void {
    this.#process.freeze();
  }

  thaw(): void {
    this.#process.thaw();
  }

  /** Keeps the sensors from printing, or lets them print again. */
  hold(isHeld: boolean): void {
    for (const { records } of this.sensors) {
      const file = join(records, "hold");
      if (isHeld) writeFileSync(file, "");
      else rmSync(file, { force: true });
    }
  }

  /** Whether the agent could not open its spool directory in this life. */
  get #isInMemory(): boolean {
    return this.#log.includes(IN_MEMORY);
  }

  get #hasStartedSensors(): boolean {
    return this.sensors.some(({ records }) =>
      readSensorRuns(records).some(({ life }) => life === this.lives.length),
    );
  }

  /** The log of this life. */
  get #log(): Buffer {
    return readFileSync(this.logFile).subarray(this.#logAt);
  }

  get #stateDir(): string {
    return join(this.#options.dir, this.name, "state");
  }

  get #configFile(): string {
    return join(this.#options.dir, this.name, "agent.yaml");
  }

  #config(): string {
    const { sensorProgram, coordinatorUrl, enrollTokenFile } = this.#options;
    const sensors = SENSORS.map(({ name, rate, padBytesMax }, i) => {
      const args = [sensorProgram, this.sensors[i]!.records, `${rate}`, `${padBytesMax}`];
      return `  - { name: ${name}, runtime: native, command: ${JSON.stringify(args)} }`;
    });
    return `coordinator: { url: "${coordinatorUrl}", enroll_token_file: ${JSON.stringify(enrollTokenFile)} }
node: { name: ${this.name} }
runtimes: [native]
sensors:
${sensors.join("\n")}
spool: ${SPOOLS[this.policy]}
`;
  }

  async #untilSettled(): Promise<boolean> {
    const endMs = performance.now() + SETTLE_MS_MAX;
    for (;;) {
      await Bun.sleep(POLL_MS);
      if (!this.isUp) return false;
      if (this.sensors.every((sensor) => this.#isSettled(sensor))) return true;
      if (performance.now() < endMs) continue;
      this.#options.reportViolation(
        `${this.name} did not write everything its sensors had printed to disk within ${SETTLE_MS_MAX / 1000} s`,
      );
      return false;
    }
  }

  #isSettled({ stream, records, spool }: ChaosSensor): boolean {
    const written = new Map<number, number>();
    for (const key of committedFrames(spool))
      written.set(runOf(key), Math.max(written.get(runOf(key)) ?? 0, numberOf(key)));
    return readSensorRuns(records)
      .filter(({ life }) => life === this.lives.length)
      .every(({ run, begun, done }) => {
        const last = Math.max(written.get(run) ?? 0, this.#options.lastArrived(stream, run));
        return begun === done && last >= done;
      });
  }

  #recordHardEnd(): void {
    const life = this.lives.at(-1)!;
    life.end = "hard";
    for (const { stream, spool } of this.sensors)
      for (const key of committedFrames(spool))
        for (const frames of [life.promised, life.written])
          note(frames, stream, runOf(key), numberOf(key));
  }
}

function note(frames: LastFrames, stream: string, run: number, n: number): void {
  const runs = frames.get(stream) ?? new Map<number, number>();
  frames.set(stream, runs.set(run, Math.max(runs.get(run) ?? 0, n)));
}
