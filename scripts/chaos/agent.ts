/**
 * An agent of the chaos test over its whole history: started, killed, stopped and frozen again and again, with one state
 * directory. Knows of each of its lives what had to survive it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dist } from "../lib/build-binaries.ts";
import { DemoProcess } from "../harness/processes.ts";
import type { Disk } from "./disks.ts";
import { committedFrames, numberOf, readSensorRuns, runOf } from "./frames.ts";

/** What a spool does when it is full decides which frames may be missing. */
export type Policy = "keeps_all" | "blocks" | "drops";

const POLL_MS = 50;
/** Before it is waited for: so that there is something that only the disk can have. */
const PRINT_ON_MS = 150;
const SETTLE_MS_MAX = 20_000;
const EXIT_TERM = "exit code 143";
const KILLED_BY_TERM = "killed by SIGTERM";
const IN_MEMORY = "the spool is in memory only";

/** One of the two sensors. */
export interface ChaosSensor {
  readonly name: string;
  readonly stream: string;
  /** Its records; a file `hold` in it keeps it from printing. */
  readonly records: string;
  readonly spool: string;
}

/** How a life ended. `soft`: told to, with a disk that took everything. */
export interface Life {
  end: "open" | "soft" | "hard";
  /** At a hard end: the last frames that must arrive. */
  readonly promised: LastFrames;
  /** Those of them that were on disk, and so are counted. */
  readonly written: LastFrames;
}

/** By stream and run. */
export type LastFrames = Map<string, Map<number, number>>;

/** What the fleet gives to an agent. */
export interface AgentSurroundings {
  readonly dir: string;
  readonly mark: string;
  readonly sensorProgram: string;
  readonly coordinatorUrl: string;
  readonly enrollTokenFile: string;
  readonly disk: Disk | undefined;
  /** How far a stream's frames of a run are recorded by its trackers. */
  readonly arrived: (stream: string, run: number) => number;
  readonly watch: (child: DemoProcess) => void;
  /** Something that must not happen has. */
  readonly violated: (sentence: string) => void;
}

const POLICIES: readonly Policy[] = ["keeps_all", "blocks", "drops"];
const SPOOLS: Record<Policy, string> = {
  keeps_all: "{ bytes_max: 64MiB }",
  blocks: "{ bytes_max: 128KiB, on_full: block }",
  drops: "{ bytes_max: 64KiB, on_full: drop_oldest }",
};
/** Frames a second and the longest padding, bytes. */
const SENSORS = [
  { name: "quick", rate: 400, padBytesMax: 300 },
  { name: "wide", rate: 60, padBytesMax: 20_000 },
] as const;

/** See the head of this file. */
export class ChaosAgent {
  readonly name: string;
  readonly policy: Policy;
  readonly sensors: readonly ChaosSensor[];
  readonly lives: Life[] = [];
  readonly #from: AgentSurroundings;
  #process: DemoProcess | undefined;
  #isEndWanted = false;
  #isFrozen = false;
  /** Something is being done to it. */
  isBusy = false;
  /** It is waited for that all is on its disk. */
  isSettling = false;
  /** Where in the log this life begins. */
  #logAt = 0;

  constructor(index: number, from: AgentSurroundings) {
    this.name = `agent${index}`;
    this.policy = POLICIES[index % POLICIES.length]!;
    this.#from = from;
    this.sensors = SENSORS.map(({ name }) => ({
      name,
      stream: `${this.name}.${name}`,
      records: join(from.dir, "sensors", `${this.name}.${name}`),
      spool: join(this.#stateDir, "spool", name),
    }));
    for (const { records } of this.sensors) mkdirSync(records, { recursive: true });
    mkdirSync(join(from.dir, this.name), { recursive: true });
    writeFileSync(this.#configFile, this.#config());
  }

  get disk(): Disk | undefined {
    return this.#from.disk;
  }

  get isUp(): boolean {
    return this.#process !== undefined && this.#process.end === undefined;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get logFile(): string {
    return join(this.#from.dir, "logs", `${this.name}.log`);
  }

  start(): void {
    const life: Life = { end: "open", promised: new Map(), written: new Map() };
    this.lives.push(life);
    this.#isEndWanted = false;
    this.#logAt = existsSync(this.logFile) ? statSync(this.logFile).size : 0;
    const child = new DemoProcess(
      {
        name: this.name,
        path: join(dist, "fleet-agent"),
        args: ["run", "--config", this.#configFile, "--state-dir", this.#stateDir],
        env: { CHAOS_LIFE: String(this.lives.length) },
      },
      join(this.#from.dir, "logs"),
      this.#from.mark,
    );
    this.#process = child;
    this.#from.watch(child);
    void child.gone.then(() => {
      if (!this.#isEndWanted)
        this.#from.violated(`${this.name} ended without having been told to: ${child.end}`);
    });
  }

  /** SIGKILL. What is on disk then is promised. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
    this.#endedHard();
  }

  /** SIGKILL at a moment when all that was printed is on disk or has arrived: that is promised. False: not now. */
  async killSettled(): Promise<boolean> {
    // What a sensor has printed into a spool that blocks waits in its pipe.
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

  /** SIGTERM; it must end by itself, and well. */
  async stop(): Promise<void> {
    const { disk } = this;
    const wasFull = disk?.isFull === true;
    const fills = disk?.fills;
    this.thaw();
    const child = this.#process;
    await this.#end("SIGTERM");
    // One that has not come as far as its sensors may be ended like any program.
    const isWell =
      child?.end === EXIT_TERM || (child?.end === KILLED_BY_TERM && !this.#hasStartedSensors);
    if (!isWell) this.#from.violated(`${this.name} was told to stop and ended with ${child?.end}`);
    const isDiskBad = wasFull || disk?.fills !== fills || this.#isInMemory;
    if (isDiskBad || !isWell) this.#endedHard();
    else this.lives.at(-1)!.end = "soft";
  }

  freeze(): void {
    this.#isFrozen = true;
    this.#signal("SIGSTOP");
  }

  thaw(): void {
    if (this.#isFrozen) this.#signal("SIGCONT");
    this.#isFrozen = false;
  }

  /** While it holds, the sensors print nothing. */
  hold(isHeld: boolean): void {
    for (const { records } of this.sensors) {
      const file = join(records, "hold");
      if (isHeld) writeFileSync(file, "");
      else rmSync(file, { force: true });
    }
  }

  /** Its spool's directory could not be opened when this life began. */
  get #isInMemory(): boolean {
    return this.#log.includes(IN_MEMORY);
  }

  get #hasStartedSensors(): boolean {
    return this.sensors.some(({ records }) =>
      readSensorRuns(records).some(({ life }) => life === this.lives.length),
    );
  }

  /** What this life has logged. */
  get #log(): Buffer {
    return readFileSync(this.logFile).subarray(this.#logAt);
  }

  get #stateDir(): string {
    return join(this.#from.dir, this.name, "state");
  }

  get #configFile(): string {
    return join(this.#from.dir, this.name, "agent.yaml");
  }

  #config(): string {
    const sensors = SENSORS.map(({ name, rate, padBytesMax }, i) => {
      const args = [
        this.#from.sensorProgram,
        this.sensors[i]!.records,
        `${rate}`,
        `${padBytesMax}`,
      ];
      return `  - { name: ${name}, runtime: native, command: ${JSON.stringify(args)} }`;
    });
    return `coordinator: { url: "${this.#from.coordinatorUrl}", enroll_token_file: ${JSON.stringify(this.#from.enrollTokenFile)} }
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
      this.#from.violated(
        `${this.name} had ${SETTLE_MS_MAX / 1000} s to write down what its sensors had printed, and did not`,
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
        const far = Math.max(written.get(run) ?? 0, this.#from.arrived(stream, run));
        return begun === done && far >= done;
      });
  }

  #endedHard(): void {
    const life = this.lives.at(-1)!;
    life.end = "hard";
    for (const { stream, spool } of this.sensors)
      for (const key of committedFrames(spool))
        for (const frames of [life.promised, life.written])
          note(frames, stream, runOf(key), numberOf(key));
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    this.#isEndWanted = true;
    if (signal === "SIGTERM") await child.stop();
    else {
      child.kill();
      await child.gone;
    }
    this.#isFrozen = false;
    this.#process = undefined;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.isUp) process.kill(this.#process!.pid, signal);
  }
}

function note(frames: LastFrames, stream: string, run: number, n: number): void {
  const runs = frames.get(stream) ?? new Map<number, number>();
  frames.set(stream, runs.set(run, Math.max(runs.get(run) ?? 0, n)));
}
