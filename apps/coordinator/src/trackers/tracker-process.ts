/**
 * The process of one tracker, the port it listens on and the connection into it. A run that dies, hangs up or reads nothing
 * for `stallTimeoutMs` is followed by another after a backoff; the next run first receives what the dead one may not have
 * worked on. When several runs in a row are short or stall, the frames they were sent are abandoned, because the frames
 * may be what kills them. Used by Tracker. (T5, T6)
 */
import type { Log } from "@fleet/daemon";
import type { StreamId } from "@fleet/protocol";
import {
  Child,
  type ChildState,
  processIdentity,
  type RunEnd,
  StderrRing,
} from "@fleet/supervisor";
import type { FrameQueue } from "./feed/frame-queue.ts";
import { TrackerLink } from "./feed/tracker-link.ts";
import type { TrackerDeps } from "./tracker-deps.ts";
import type { EventReader } from "./tracks/event-reader.ts";

const STABLE_AFTER_MS = 10_000;
/** After this many runs in a row that ended within STABLE_AFTER_MS or stalled, their frames are abandoned. */
const SHORT_RUNS_MAX = 5;
/** A tracker that exits closes its connection first; one that still runs this long after closing it is ended. */
const HANG_UP_MS = 1000;
/** Every how many seconds the process is checked for a stall. */
const STALL_CHECK_TICKS = 5;
const BACKOFF = { baseMs: 100, capMs: 10_000 };
const STDERR_BYTES_MAX = 8192;
const STDERR_LINES_MAX = 10;

/** What a process is built from. */
export interface TrackerProcessOptions {
  readonly deps: TrackerDeps;
  readonly log: Log;
  readonly streamId: StreamId;
  readonly queue: FrameQueue;
  readonly events: EventReader;
  /** The number of the last run of an earlier coordinator process. */
  readonly runsBefore: number;
  /** The state has changed. */
  readonly onState: () => void;
  /** A stop is complete; the process may be started again. */
  readonly onStopped: () => void;
}

interface Current {
  readonly child: Child;
  readonly port: number;
  /** The connection into the latest run. */
  link: TrackerLink | undefined;
}

/** Starts the process, restarts it when it dies, and stops it. */
export class TrackerProcess {
  readonly #options: TrackerProcessOptions;
  readonly #deps: TrackerDeps;
  readonly #log: Log;
  #runs: number;
  #current: Current | undefined;
  #stopping: Promise<void> | undefined;
  #shortRuns = 0;
  #wasKilled = false;
  #ticks = 0;

  constructor(options: TrackerProcessOptions) {
    this.#options = options;
    this.#deps = options.deps;
    this.#log = options.log;
    this.#runs = options.runsBefore;
  }

  /** Whether the process runs, or is about to. */
  get isActive(): boolean {
    return this.#current !== undefined;
  }

  get isStopping(): boolean {
    return this.#stopping !== undefined;
  }

  /** Whether the connection into the process is open. */
  get isConnected(): boolean {
    return this.#current?.link?.isUp === true;
  }

  get state(): ChildState["at"] {
    return this.#current?.child.state.at ?? "stopped";
  }

  get pid(): number | undefined {
    return this.#current?.child.pid;
  }

  /** The number of the latest run. */
  get run(): number {
    return this.#runs;
  }

  /** Starts the process unless it is active. Returns false when no port is free. */
  start(): boolean {
    if (this.#current !== undefined) return true;
    const { streamId } = this.#options;
    const port = this.#deps.pool.lease(streamId);
    if (port === undefined) return false;
    this.#deps.store.update(streamId, { port });
    const child = this.#createChild(port);
    this.#current = { child, port, link: undefined };
    child.start();
    return true;
  }

  /**
   * Drains the queue, closes the connection so that the tracker sees the end of its input, then stops the process, all by
   * `deadlineMs` (monotonic). A second call shares the stop under way and may bring its deadline forward.
   */
  stop(deadlineMs: number): Promise<void> {
    if (this.#stopping !== undefined) return this.#hurry(this.#stopping, deadlineMs);
    this.#stopping = this.#stop(deadlineMs).finally(() => {
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  /** Ends a run that reads nothing. Called once a second. */
  tick(): void {
    if (++this.#ticks % STALL_CHECK_TICKS !== 0) return;
    if (this.#current?.link?.stalls(this.#deps.options.stallTimeoutMs) === true)
      this.#current.child.fail("it reads nothing");
  }

  #hurry(stopping: Promise<void>, deadlineMs: number): Promise<void> {
    const { clock, options } = this.#deps;
    const waitMs = Math.max(0, deadlineMs - options.stopGraceMs - clock.monotonicMs());
    const timer = clock.after(waitMs, () => {
      this.#current?.link?.cutDrain();
      void this.#current?.child.stop(deadlineMs);
    });
    return stopping.finally(() => timer.cancel());
  }

  async #stop(deadlineMs: number): Promise<void> {
    const current = this.#current;
    if (current === undefined) return;
    const hasReadAll = await current.link?.drain(deadlineMs - this.#deps.options.stopGraceMs);
    current.link?.end();
    await current.child.stop(deadlineMs).catch((err: unknown) => {
      this.#log.error({ err }, "tracker did not stop in time");
    });
    current.link?.close();
    if (hasReadAll === true && !this.#wasKilled) this.#options.queue.clearRedelivery();
    this.#current = undefined;
    this.#options.onState();
    this.#options.onStopped();
  }

  #createChild(port: number): Child {
    const { streamId, events } = this.#options;
    const { clock, random, options, spawn } = this.#deps;
    const stderr = new StderrRing(STDERR_BYTES_MAX);
    const child: Child = new Child({
      clock,
      random,
      log: this.#log,
      ...(spawn === undefined ? {} : { spawn }),
      spec: {
        command: options.command.map((arg) =>
          arg.replaceAll("{port}", String(port)).replaceAll("{stream}", streamId),
        ),
        env: options.env,
        restart: "always",
        backoff: BACKOFF,
        stableAfterMs: STABLE_AFTER_MS,
        ready: "manual",
        startTimeoutMs: options.startTimeoutMs,
        stopGraceMs: options.stopGraceMs,
        runsBefore: this.#runs,
        onStdout: (chunk, run) => events.push(chunk, run),
        onStderr: (chunk) => stderr.push(chunk),
        onState: (next) => this.#onState(child, next),
        onExit: (end) => {
          events.endRun(end.run);
          this.#wasKilled = end.signal === "SIGKILL";
          this.#logEnd(end, stderr);
        },
      },
    });
    return child;
  }

  #onState(child: Child, next: ChildState): void {
    const current = this.#current;
    // A child that outlived the deadline of its stop may still end; it is not ours any more.
    if (current?.child !== child) return;
    if (next.at === "starting") this.#onSpawned(current, next.pid);
    if (next.at === "backoff" || next.at === "stopped") {
      current.link?.close();
      this.#deps.store.update(this.#options.streamId, { pid: null, pidStart: null, bootId: null });
    }
    if (next.at === "backoff") {
      this.#countShortRun(current.link);
      // A spawn that fails after this is not a run, so it must not be counted as one.
      current.link = undefined;
      void this.#keepPort(current);
    }
    this.#options.onState();
  }

  #onSpawned(current: Current, pid: number): void {
    const { streamId } = this.#options;
    const { run } = current.child;
    this.#runs = run;
    const identity = processIdentity(pid);
    this.#deps.store.update(streamId, {
      run,
      pid,
      pidStart: identity?.startTicks ?? null,
      bootId: identity?.bootId ?? null,
    });
    this.#log.info({ pid, run, port: current.port }, "tracker started");
    this.#connect(current, run);
  }

  #connect(current: Current, run: number): void {
    const { queue, events } = this.#options;
    const { clock, backlog } = this.#deps;
    const { child, port } = current;
    current.link = new TrackerLink({
      clock,
      backlog,
      queue,
      port,
      onUp: () => {
        child.markReady();
        events.beginRun(run, queue.redelivery());
      },
      onHungUp: () => {
        clock.after(HANG_UP_MS, () => {
          if (this.#current === current && child.run === run)
            child.fail("it closed its connection");
        });
      },
      onError: (err) => this.#log.error({ err }, "connection to the tracker failed"),
    });
    void current.link.open();
  }

  #countShortRun(link: TrackerLink | undefined): void {
    // A run without a connection was sent no frames.
    const upForMs = link?.upForMs;
    if (link === undefined || upForMs === undefined) return;
    const isShort = link.hasStalled || upForMs < STABLE_AFTER_MS;
    this.#shortRuns = isShort ? this.#shortRuns + 1 : 0;
    if (this.#shortRuns < SHORT_RUNS_MAX) return;
    this.#shortRuns = 0;
    const frames = this.#options.queue.abandon();
    this.#log.error(
      { frames, runs: SHORT_RUNS_MAX },
      "tracker keeps dying, its frames are abandoned",
    );
  }

  /** Another process may have taken the port of a tracker that died; if so, starts the tracker on another port. */
  async #keepPort(current: Current): Promise<void> {
    const { child, port } = current;
    if (this.#deps.pool.lease(this.#options.streamId) === port) return;
    await child.stop(this.#deps.clock.monotonicMs() + this.#deps.options.stopGraceMs);
    if (this.#current !== current || this.#stopping !== undefined) return;
    this.#current = undefined;
    if (!this.start()) this.#log.warn({}, "no free port for the tracker");
  }

  /** Logs the end of a run, with the last lines of stderr unless the run was asked to stop. */
  #logEnd({ run, code, signal }: RunEnd, stderr: StderrRing): void {
    const state = this.#current?.child.state;
    const wasAsked = state?.at === "stopping" && state.then === "stopped";
    const lines = wasAsked ? {} : { stderr: stderr.lines(STDERR_LINES_MAX) };
    this.#log.info({ run, exit_code: code, signal, ...lines }, "tracker ended");
    stderr.clear();
  }
}
