/**
 * The coordinator of the chaos test, with its trackers, through all its lives: it is started, killed, stopped and frozen again
 * and again, with the same data directory.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TrackerView } from "../../../packages/protocol/src/index.ts";
import { FleetApi } from "../../harness/fleet-api.ts";
import { dist } from "../../lib/build-binaries.ts";
import type { LoggedProcess } from "../../harness/logged-process.ts";
import type { Disk } from "./disk.ts";
import { RestartedProcess, type Surroundings } from "./restarted-process.ts";

const POLL_MS = 50;
const READY_MS_MAX = 30_000;
const FED_MS_MAX = 15_000;
/** Fewer deaths than make the coordinator suspect the frames of killing their tracker. */
const DEATHS_MAX = 3;
const DEATHS_MS = 60_000;
/** States in which a tracker's socket is open. */
const FED_STATES: ReadonlySet<string> = new Set(["RUNNING", "OUTAGE"]);
/** Small, so that the frames of a tracker that does not read wait in the coordinator, where they can be lost. */
const RECORDER_BUFFER_BYTES = "2048";
const EXIT_TERM = "exit code 143";

/** What the fleet passes to the coordinator. */
export interface ChaosCoordinatorOptions extends Surroundings {
  readonly trackerProgram: string;
  readonly httpPort: number;
  readonly framesPort: number;
  /** The port that agents are told to send frames to. */
  readonly advertisedPort: number;
  readonly trackerPorts: { readonly first: number; readonly last: number };
  readonly disk: Disk | undefined;
}

/** A coordinator whose trackers record their input. */
export class ChaosCoordinator {
  readonly api: FleetApi;
  readonly operatorToken = "operator-token-of-the-chaos-test";
  readonly pushToken = "push-token-of-the-chaos-test";
  /** For each life, whether it was killed or could not save its stream progress at the end. */
  readonly wasKilled: boolean[] = [];
  readonly #options: ChaosCoordinatorOptions;
  readonly #process: RestartedProcess;
  /** An action on the coordinator is under way. Its trackers are left alone meanwhile. */
  isBusy = false;
  /**
   * Streams whose tracker was killed, with the run that was killed. Until the next run has been fed, only the coordinator holds
   * the frames the tracker had not read.
   */
  readonly #unfed = new Map<string, number>();
  readonly #frozen = new Map<string, number>();
  readonly #deaths = new Map<string, readonly number[]>();

  constructor(options: ChaosCoordinatorOptions) {
    this.#options = options;
    this.#process = new RestartedProcess("the coordinator", options);
    this.api = new FleetApi(`http://127.0.0.1:${options.httpPort}`, this.operatorToken);
    mkdirSync(this.#dataDir, { recursive: true });
  }

  get disk(): Disk | undefined {
    return this.#options.disk;
  }

  /** The number of the current life, from 1. */
  get life(): number {
    return this.wasKilled.length;
  }

  get isUp(): boolean {
    return this.#process.isUp;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** The directory of a stream's recordings. */
  inputsDir(stream: string): string {
    return join(this.#options.dir, "inputs", stream);
  }

  /** Starts the coordinator and waits until it is ready. One that fails because its disk is full is started again. */
  async start(): Promise<void> {
    this.wasKilled.push(false);
    const wasFull = this.disk?.isFull ?? false;
    const child = this.#spawn();
    const endMs = performance.now() + READY_MS_MAX;
    while (!(await this.#isReady())) {
      if (child.end !== undefined) break;
      if (performance.now() > endMs) {
        this.#options.reportViolation(
          `the coordinator did not answer within ${READY_MS_MAX / 1000} s of its start`,
        );
        return;
      }
      await Bun.sleep(POLL_MS);
    }
    if (child.end === undefined) {
      this.#process.forbidEnd();
      return;
    }
    if (!wasFull && !this.disk?.isFull) {
      this.#options.reportViolation(`the coordinator did not start: ${child.end}`);
      return;
    }
    while (this.disk?.isFull) await Bun.sleep(POLL_MS);
    this.wasKilled[this.life - 1] = true;
    await this.start();
  }

  /**
   * Sends SIGKILL. Its trackers, including frozen ones, still read what is in their sockets. Returns false if a tracker that
   * died has not been fed yet, because two such deaths at once may lose frames.
   */
  async kill(): Promise<boolean> {
    if (!(await this.#untilFed())) return false;
    this.wasKilled[this.life - 1] = true;
    await this.#process.kill();
    this.thawTrackers();
    return true;
  }

  /** Sends SIGTERM. Any end but an orderly stop is a violation. Returns false under the same condition as `kill`. */
  async stop(): Promise<boolean> {
    this.thawTrackers();
    if (!(await this.#untilFed())) return false;
    const { disk } = this;
    const wasFull = disk?.isFull;
    const fills = disk?.fills;
    const end = await this.#process.stop();
    // What it could not save is as unknown to the next life as after a kill.
    if (wasFull || disk?.fills !== fills) this.wasKilled[this.life - 1] = true;
    if (end !== EXIT_TERM)
      this.#options.reportViolation(`the coordinator was asked to stop and ended with ${end}`);
    return true;
  }

  freeze(): void {
    this.#process.freeze();
  }

  thaw(): void {
    this.#process.thaw();
  }

  /**
   * Stops a stream's tracker from reading for `afterMs`, then sends it SIGKILL. Returns false if the stream has no tracker, or if
   * too many of its trackers died recently: the coordinator gives up frames that appear to kill run after run.
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

  /** Sends SIGSTOP to a stream's tracker. Returns false if it has none. */
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
    return join(this.#options.dir, "coordinator");
  }

  #spawn(): LoggedProcess {
    const { dir } = this.#options;
    const config = join(dir, "coordinator.json");
    writeFileSync(config, this.#config());
    return this.#process.start({
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
    });
  }

  #config(): string {
    const { dir, httpPort, framesPort, advertisedPort, trackerPorts, trackerProgram } =
      this.#options;
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

  #isReady(): Promise<boolean> {
    return this.api.ask().then(
      () => true,
      () => false,
    );
  }

  async #view(stream: string): Promise<TrackerView | undefined> {
    const answer = await this.api.ask().catch(() => undefined);
    return answer?.trackers.find(({ stream_id: id }) => id === stream);
  }

  /** Whether `pid` still is the stream's tracker and not another process that reuses the pid. */
  #isTracker(pid: number, stream: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(this.inputsDir(stream));
    } catch {
      return false;
    }
  }
}
