/** The coordinator of the chaos test over its whole history, with its trackers. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TrackerView } from "../../packages/protocol/src/index.ts";
import { FleetApi } from "../demo/fleet-api.ts";
import { DemoProcess } from "../harness/processes.ts";
import { dist } from "../lib/build-binaries.ts";
import type { Disk } from "./disks.ts";

const POLL_MS = 50;
const READY_MS_MAX = 30_000;
const FED_MS_MAX = 15_000;
/** Less than the coordinator takes for a tracker that dies of its frames. */
const DEATHS_MAX = 3;
const DEATHS_MS = 60_000;
/** Its socket is open. */
const FED_STATES: ReadonlySet<string> = new Set(["RUNNING", "OUTAGE"]);
/** What the system keeps for a tracker that does not read is small, so that frames wait where they can be lost. */
const RECORDER_BUFFER_BYTES = "2048";
const EXIT_TERM = "exit code 143";

/** What the fleet gives to the coordinator. */
export interface CoordinatorSurroundings {
  readonly dir: string;
  readonly mark: string;
  readonly trackerProgram: string;
  readonly httpPort: number;
  readonly framesPort: number;
  /** Where agents are to connect. */
  readonly advertisedPort: number;
  readonly trackerPorts: { readonly first: number; readonly last: number };
  readonly disk: Disk | undefined;
  readonly watch: (child: DemoProcess) => void;
  readonly violated: (sentence: string) => void;
}

/** See the head of this file. */
export class ChaosCoordinator {
  readonly api: FleetApi;
  readonly operatorToken = "operator-token-of-the-chaos-test";
  readonly pushToken = "push-token-of-the-chaos-test";
  /** Of each life, whether it was killed, or could not write down at its end how far it had come. */
  readonly wasKilled: boolean[] = [];
  readonly #from: CoordinatorSurroundings;
  #process: DemoProcess | undefined;
  #isEndWanted = false;
  #isFrozen = false;
  /** Something is being done to it: its trackers are left alone then. */
  isBusy = false;
  /** Streams whose tracker was killed, and the run it was. Until the next has been fed, what it had not read is nowhere else. */
  readonly #unfed = new Map<string, number>();
  readonly #frozen = new Map<string, number>();
  readonly #deaths = new Map<string, readonly number[]>();

  constructor(from: CoordinatorSurroundings) {
    this.#from = from;
    this.api = new FleetApi(`http://127.0.0.1:${from.httpPort}`, this.operatorToken);
    mkdirSync(this.#dataDir, { recursive: true });
  }

  get disk(): Disk | undefined {
    return this.#from.disk;
  }

  /** Counts the starts, from 1. */
  get life(): number {
    return this.wasKilled.length;
  }

  get isUp(): boolean {
    return this.#process !== undefined && this.#process.end === undefined;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** A stream's recordings. */
  inputsDir(stream: string): string {
    return join(this.#from.dir, "inputs", stream);
  }

  /** Starts it and waits until it is ready. One that can't start while its disk is full is started again. */
  async start(): Promise<void> {
    this.wasKilled.push(false);
    this.#isEndWanted = false;
    const wasFull = this.disk?.isFull ?? false;
    const child = this.#spawn();
    const endMs = performance.now() + READY_MS_MAX;
    while (!(await this.#answers())) {
      if (child.end !== undefined) break;
      if (performance.now() > endMs) {
        this.#from.violated(
          `the coordinator did not answer ${READY_MS_MAX / 1000} s after its start`,
        );
        return;
      }
      await Bun.sleep(POLL_MS);
    }
    if (child.end === undefined) {
      void child.gone.then(() => {
        if (!this.#isEndWanted)
          this.#from.violated(`the coordinator ended without having been told to: ${child.end}`);
      });
      return;
    }
    if (!wasFull && !this.disk?.isFull) {
      this.#from.violated(`the coordinator did not start: ${child.end}`);
      return;
    }
    while (this.disk?.isFull) await Bun.sleep(POLL_MS);
    this.wasKilled[this.life - 1] = true;
    await this.start();
  }

  /**
   * SIGKILL. What its trackers have in their sockets they read after it, also those that are frozen. False: not now. A tracker
   * that died is not fed yet, and two such deaths at once may cost frames.
   */
  async kill(): Promise<boolean> {
    if (!(await this.#untilFed())) return false;
    this.wasKilled[this.life - 1] = true;
    await this.#end(() => this.#process?.kill());
    this.thawTrackers();
    return true;
  }

  /** As `kill`, with SIGTERM; it must end by itself, and well. */
  async stop(): Promise<boolean> {
    this.thawTrackers();
    if (!(await this.#untilFed())) return false;
    const { disk } = this;
    const wasFull = disk?.isFull;
    const fills = disk?.fills;
    const child = this.#process;
    await this.#end(() => void child?.stop());
    // What it could not write down is as unknown to the next start as after a kill.
    if (wasFull || disk?.fills !== fills) this.wasKilled[this.life - 1] = true;
    if (child?.end !== EXIT_TERM)
      this.#from.violated(`the coordinator was told to stop and ended with ${child?.end}`);
    return true;
  }

  freeze(): void {
    this.#isFrozen = true;
    this.#signal("SIGSTOP");
  }

  thaw(): void {
    if (this.#isFrozen) this.#signal("SIGCONT");
    this.#isFrozen = false;
  }

  /**
   * SIGKILL for a stream's tracker that has not read anything for `afterMs`. False when there is none, or when too many of it
   * have died of late: frames that one run after the other dies of are given up.
   */
  async killTracker(stream: string, afterMs: number): Promise<boolean> {
    const nowMs = performance.now();
    const deaths = (this.#deaths.get(stream) ?? []).filter((atMs) => nowMs - atMs < DEATHS_MS);
    if (deaths.length >= DEATHS_MAX) return false;
    this.#deaths.set(stream, [...deaths, nowMs]);
    const view = await this.#view(stream);
    if (view === undefined || view.pid === null || this.isBusy) return false;
    if (!this.#isTracker(view.pid, stream)) return false;
    this.#unfed.set(stream, view.run);
    process.kill(view.pid, "SIGSTOP");
    await Bun.sleep(afterMs);
    if (!this.#isTracker(view.pid, stream)) return false;
    process.kill(view.pid, "SIGKILL");
    return true;
  }

  /** SIGSTOP for a stream's tracker, until `thawTracker`. */
  async freezeTracker(stream: string): Promise<boolean> {
    const pid = (await this.#view(stream))?.pid ?? undefined;
    if (pid === undefined || this.isBusy || !this.#isTracker(pid, stream)) return false;
    this.#frozen.set(stream, pid);
    process.kill(pid, "SIGSTOP");
    return true;
  }

  thawTracker(stream: string): void {
    const pid = this.#frozen.get(stream);
    this.#frozen.delete(stream);
    if (pid !== undefined && this.#isTracker(pid, stream)) process.kill(pid, "SIGCONT");
  }

  thawTrackers(): void {
    for (const stream of this.#frozen.keys()) this.thawTracker(stream);
  }

  get #dataDir(): string {
    return join(this.#from.dir, "coordinator");
  }

  #spawn(): DemoProcess {
    const { dir, mark } = this.#from;
    const config = join(dir, "coordinator.json");
    writeFileSync(config, this.#config());
    const child = new DemoProcess(
      {
        name: "coordinator",
        path: join(dist, "fleet-coordinator"),
        args: ["serve", "--config", config, "--data-dir", this.#dataDir],
        env: {
          FLEET_ENROLL_TOKEN_FILE: join(dir, "enroll-token"),
          FLEET_OPERATOR_TOKEN: this.operatorToken,
          FLEET_PUSH_TOKEN: this.pushToken,
          RECORDER_LIFE: String(this.life),
          RECORDER_BUFFER: RECORDER_BUFFER_BYTES,
        },
      },
      join(dir, "logs"),
      mark,
    );
    this.#process = child;
    this.#from.watch(child);
    return child;
  }

  #config(): string {
    const { dir, httpPort, framesPort, advertisedPort, trackerPorts, trackerProgram } = this.#from;
    return JSON.stringify({
      http: { host: "127.0.0.1", port: httpPort },
      advertise_frames: { host: "127.0.0.1", port: advertisedPort },
      tcp_server: {
        host: "127.0.0.1",
        port: framesPort,
        auto_provision_port_start: trackerPorts.first,
        auto_provision_port_end: trackerPorts.last,
      },
      tracker: {
        command: [trackerProgram, `${dir}/inputs/{stream}`, "{port}"],
        stop_grace: "3s",
        extended_outage: "4s",
      },
      registry: { heartbeat_interval: "300ms", stale_after: "2s", dead_after: "5s" },
    });
  }

  async #untilFed(): Promise<boolean> {
    this.thaw();
    const endMs = performance.now() + FED_MS_MAX;
    while (this.#unfed.size > 0 && performance.now() < endMs) {
      const answer = await this.api.ask().catch(() => undefined);
      for (const view of answer?.trackers ?? []) {
        const run = this.#unfed.get(view.stream_id);
        const isFed =
          run !== undefined &&
          view.run > run &&
          FED_STATES.has(view.state) &&
          view.frames_waiting === 0;
        if (isFed) this.#unfed.delete(view.stream_id);
      }
      await Bun.sleep(POLL_MS);
    }
    return this.#unfed.size === 0;
  }

  #answers(): Promise<boolean> {
    return this.api.ask().then(
      () => true,
      () => false,
    );
  }

  async #view(stream: string): Promise<TrackerView | undefined> {
    const answer = await this.api.ask().catch(() => undefined);
    return answer?.trackers.find(({ stream_id: id }) => id === stream);
  }

  /** The stream's tracker, and not who has its pid by now. */
  #isTracker(pid: number, stream: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(this.inputsDir(stream));
    } catch {
      return false;
    }
  }

  async #end(how: () => void): Promise<void> {
    this.#isEndWanted = true;
    const child = this.#process;
    how();
    await child?.gone;
    this.#isFrozen = false;
    this.#process = undefined;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.isUp) process.kill(this.#process!.pid, signal);
  }
}
