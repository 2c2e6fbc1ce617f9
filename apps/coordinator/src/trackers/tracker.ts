/**
 * The tracker of one stream: its process, the connection into it, and what comes out of it. The process is started when
 * a source connects or a frame comes, kept through a source's short absence, and restarted with backoff when it dies.
 *
 *   STOPPED → STARTING → RUNNING ⇄ OUTAGE → STOPPING → STOPPED;   any run that dies → BACKOFF → STARTING
 *
 * OUTAGE is a running process without a source; after `extendedOutageMs` of it the process is stopped. A run that dies,
 * hangs up or reads nothing for `stallTimeoutMs` is followed by another, which is first given again what the dead one may
 * not have worked on. (T2, T4, T5)
 */
import type { Log, Timer } from "@fleet/daemon";
import { nodeOfStream, type StreamId, type TrackerView } from "@fleet/protocol";
import {
  Child,
  type ChildState,
  processIdentity,
  type RunEnd,
  StderrRing,
} from "@fleet/supervisor";
import { EventReader } from "./tracks/event-reader.ts";
import { type Feed, PUSHED } from "./feed/feed.ts";
import { FrameQueue } from "./feed/frame-queue.ts";
import { LatestTracks } from "./tracks/latest-tracks.ts";
import { TrackerLink } from "./feed/tracker-link.ts";
import type { TrackerDeps } from "./tracker-deps.ts";
import type { TrackerRow } from "./tracker-store.ts";

const STABLE_AFTER_MS = 10_000;
/** So many runs in a row that were given frames and ended within STABLE_AFTER_MS, or hung, may have done so for them. */
const SHORT_RUNS_MAX = 5;
/** A tracker that exits hangs up first; one that is still there after this has only hung up. */
const HANG_UP_MS = 1000;
const LOOK_TICKS = 5;
const BACKOFF = { baseMs: 100, capMs: 10_000 };
const RATE_WINDOW_S = 5;
const STDERR_BYTES_MAX = 8192;
const STDERR_LINES_MAX = 10;

/** See the head of this file. */
export class Tracker {
  readonly streamId: StreamId;
  readonly feed: Feed;
  readonly queue: FrameQueue;
  readonly view = new LatestTracks();
  readonly #events: EventReader;
  /** Monotonic ms of the last frame or connection, negative if it was before our time; the idlest stopped tracker gives its port up first. */
  lastActiveMs: number;
  lastFrameAtMs: number | null;
  /** A plain node's latest frame, by its own timestamp. */
  lastTimestampMs: number | undefined;
  #lastFrameWritten: number | null;
  readonly #deps: TrackerDeps;
  readonly #log: Log;
  readonly #source: "config" | "auto";
  #runs: number;
  #child: Child | undefined;
  #port: number | undefined;
  #link: TrackerLink | undefined;
  #shortRuns = 0;
  #wasKilled = false;
  #ticks = 0;
  #framesAbandoned = 0;
  #sources = 0;
  #outage: Timer | undefined;
  #publishedState: TrackerView["state"] = "STOPPED";
  #retired = false;
  /** Frames came since it was last told to stop. */
  #isLate = false;
  readonly #frameCounts: number[] = [];
  #stopping: Promise<void> | undefined;

  constructor(deps: TrackerDeps, row: TrackerRow, feed: Feed = PUSHED) {
    this.#deps = deps;
    this.queue = new FrameQueue(deps.redeliveryBudget);
    this.feed = feed;
    this.streamId = row.streamId as StreamId;
    this.#log = deps.log.child({ stream_id: this.streamId });
    this.#events = new EventReader(deps, this.streamId, this.view);
    this.#source = row.source;
    this.#runs = row.run;
    this.lastFrameAtMs = row.lastFrameAt;
    this.#lastFrameWritten = row.lastFrameAt;
    const idleMs = deps.clock.nowMs() - (row.lastFrameAt ?? row.createdAt);
    this.lastActiveMs = deps.clock.monotonicMs() - Math.max(0, idleMs);
  }

  /** Lines of output that were not track events. */
  get badEvents(): number {
    return this.#events.bad;
  }

  /** Events that a run said again, and that were passed on before. */
  get repeatedEvents(): number {
    return this.#events.repeated;
  }

  /** Frames that were not given again, since run after run died. */
  get framesAbandoned(): number {
    return this.#framesAbandoned;
  }

  /** Whether a process is there or on its way. */
  get active(): boolean {
    return this.#child !== undefined;
  }

  /** Whether a source is there and no process, since there was no port for it. */
  get lacksPort(): boolean {
    return this.#child === undefined && this.#sources > 0;
  }

  /** Whether the tracker's socket is open, so that waiting for room makes sense. */
  get connected(): boolean {
    return this.#link?.isUp === true;
  }

  get state(): TrackerView["state"] {
    const at = this.#child?.state.at ?? "stopped";
    if (at === "running" && this.#sources === 0) return "OUTAGE";
    return at.toUpperCase() as Uppercase<typeof at>;
  }

  /**
   * A source is there. Starts the process when it isn't, on a port of the pool. False when there is none left.
   * Every `attach` that gave true is answered by one `detach`.
   */
  attach(): boolean {
    if (!this.#ensureRunning()) return false;
    this.#sources++;
    this.#outage?.cancel();
    this.#outage = undefined;
    this.#publish();
    return true;
  }

  /** A source has gone. With the last one the outage begins. (T4) */
  detach(): void {
    this.#sources--;
    if (this.#sources > 0) return;
    this.lastActiveMs = this.#deps.clock.monotonicMs();
    this.#publish();
    this.#armOutage();
  }

  #armOutage(): void {
    this.#outage?.cancel();
    if (this.#retired) return;
    this.#outage = this.#deps.clock.after(this.#deps.options.extendedOutageMs, () => {
      // One that only just starts has frames to read first.
      if (this.state === "STARTING" && this.queue.waitingFrames > 0) return this.#armOutage();
      this.#log.info({}, "no source for long, stopping the tracker");
      const graceMs = this.#deps.options.stopGraceMs * 2;
      void this.stop(this.#deps.clock.monotonicMs() + graceMs);
    });
  }

  /** Notes that frames came; restarts a process that was stopped meanwhile. */
  sawFrames(): void {
    this.lastFrameAtMs = this.#deps.clock.nowMs();
    this.lastActiveMs = this.#deps.clock.monotonicMs();
    this.#isLate = true;
    if (this.#child === undefined) this.#respawn();
  }

  /** Whether `lastFrameAtMs` has changed since this was asked last. */
  takeLastFrame(): boolean {
    const changed = this.lastFrameAtMs !== this.#lastFrameWritten;
    this.#lastFrameWritten = this.lastFrameAtMs;
    return changed;
  }

  /** Called once a second: keeps the frame rate, and an eye on what the tracker reads. */
  tick(): void {
    // A source that waits for room would not ask again.
    if (this.lacksPort) this.#ensureRunning();
    if (++this.#ticks % LOOK_TICKS === 0) {
      const { stallTimeoutMs } = this.#deps.options;
      if (this.#link?.stalls(stallTimeoutMs) === true) this.#child?.fail("it reads nothing");
    }
    this.#frameCounts.push(this.queue.framesAccepted);
    if (this.#frameCounts.length > RATE_WINDOW_S + 1) this.#frameCounts.shift();
  }

  /** Drains what waits, closes the connection so that the tracker sees its input end, then stops the process. (T6) */
  stop(deadlineMs: number): Promise<void> {
    if (this.#stopping !== undefined) return this.#hurry(this.#stopping, deadlineMs);
    this.#stopping = this.#stop(deadlineMs).finally(() => {
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  /** The stop that is under way may have been given more time. */
  #hurry(stopping: Promise<void>, deadlineMs: number): Promise<void> {
    const { clock, options } = this.#deps;
    const waitMs = Math.max(0, deadlineMs - options.stopGraceMs - clock.monotonicMs());
    const timer = clock.after(waitMs, () => {
      this.#link?.cutDrain();
      void this.#child?.stop(deadlineMs);
    });
    return stopping.finally(() => timer.cancel());
  }

  /** Stops it for good. */
  retire(deadlineMs: number): Promise<void> {
    this.#retired = true;
    return this.stop(deadlineMs);
  }

  toView(): TrackerView {
    const counts = this.#frameCounts;
    const seconds = Math.max(1, counts.length - 1);
    return {
      stream_id: this.streamId,
      node_id: nodeOfStream(this.streamId),
      state: this.state,
      source: this.#source,
      ...this.feed,
      port: this.#deps.pool.portOf(this.streamId) ?? null,
      run: this.#runs,
      pid: this.#child?.pid ?? null,
      frames: this.queue.framesAccepted,
      frames_waiting: this.queue.waitingFrames,
      frames_dropped: { ...this.queue.dropped },
      frames_redelivered: this.queue.framesRedelivered,
      frames_per_s: ((counts.at(-1) ?? 0) - (counts[0] ?? 0)) / seconds,
      events: this.view.events,
      tracks: this.view.tracks,
      tracks_live: this.view.live(this.#deps.clock.nowMs()),
      last_frame_at: this.lastFrameAtMs,
    };
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.#outage?.cancel();
    this.#outage = undefined;
    this.#isLate = false;
    const child = this.#child;
    if (child === undefined) return;
    const hasReadAll = await this.#link?.drain(deadlineMs - this.#deps.options.stopGraceMs);
    this.#link?.end();
    await child.stop(deadlineMs).catch((err: unknown) => {
      this.#log.error({ err }, "the tracker did not stop in time");
    });
    this.#link?.close();
    if (hasReadAll === true && !this.#wasKilled) this.queue.forget();
    this.#child = undefined;
    this.#port = undefined;
    this.#publish();
    // A source or a frame that came meanwhile waits for a process, and nothing else would start one.
    if (this.#sources > 0 || (this.#isLate && this.queue.waitingFrames > 0)) this.#respawn();
  }

  #respawn(): void {
    this.#ensureRunning();
    if (this.#sources === 0) this.#armOutage();
  }

  #ensureRunning(): boolean {
    if (this.#child !== undefined) return true;
    if (this.#retired) return false;
    const port = this.#deps.pool.lease(this.streamId);
    if (port === undefined) return false;
    this.#port = port;
    this.#deps.store.update(this.streamId, { port });
    const child = this.#makeChild(port);
    this.#child = child;
    child.start();
    return true;
  }

  #makeChild(port: number): Child {
    const { clock, random, options, spawn } = this.#deps;
    const stderr = new StderrRing(STDERR_BYTES_MAX);
    const child: Child = new Child({
      clock,
      random,
      log: this.#log,
      ...(spawn === undefined ? {} : { spawn }),
      spec: {
        command: options.command.map((arg) =>
          arg.replaceAll("{port}", String(port)).replaceAll("{stream}", this.streamId),
        ),
        env: options.env,
        restart: "always",
        backoff: BACKOFF,
        stableAfterMs: STABLE_AFTER_MS,
        ready: "manual",
        startTimeoutMs: options.startTimeoutMs,
        stopGraceMs: options.stopGraceMs,
        runsBefore: this.#runs,
        onStdout: (chunk, run) => this.#events.push(chunk, run),
        onStderr: (chunk) => stderr.push(chunk),
        onState: (next) => this.#onState(child, next),
        onExit: (end) => {
          this.#events.endRun(end.run);
          this.#wasKilled = end.signal === "SIGKILL";
          this.#logEnd(end, stderr);
        },
      },
    });
    return child;
  }

  #onState(child: Child, next: ChildState): void {
    // One that outlived its stop's deadline may still end; it is nobody's by then.
    if (this.#child !== child) return;
    if (next.at === "starting") this.#onSpawned(child, next.pid);
    if (next.at === "backoff" || next.at === "stopped") {
      this.#link?.close();
      this.#deps.store.update(this.streamId, { pid: null, pidStart: null, bootId: null });
    }
    if (next.at === "backoff") {
      this.#countShortRun();
      // Spawns that fail from here on are no runs.
      this.#link = undefined;
      void this.#keepPort(child);
    }
    this.#publish();
  }

  /** Frames that one run after the other dies of, or hangs in, are given up. */
  #countShortRun(): void {
    const { upForMs: ranMs, hasStalled } = this.#link ?? {};
    if (ranMs === undefined) return;
    this.#shortRuns = hasStalled || ranMs < STABLE_AFTER_MS ? this.#shortRuns + 1 : 0;
    if (this.#shortRuns < SHORT_RUNS_MAX) return;
    this.#shortRuns = 0;
    const frames = this.queue.forget();
    this.#framesAbandoned += frames;
    this.#log.error(
      { frames },
      "one run after the other died or hung, its frames are not given again",
    );
  }

  /** The port of a tracker that died may have been taken since: then another one is leased. */
  async #keepPort(child: Child): Promise<void> {
    if (this.#child !== child || this.#deps.pool.lease(this.streamId) === this.#port) return;
    await child.stop(this.#deps.clock.monotonicMs() + this.#deps.options.stopGraceMs);
    if (this.#child !== child || this.#stopping !== undefined) return;
    this.#child = undefined;
    if (!this.#ensureRunning()) this.#log.warn({}, "no free port for the tracker");
  }

  #onSpawned(child: Child, pid: number): void {
    this.#runs = child.run;
    const identity = processIdentity(pid);
    this.#deps.store.update(this.streamId, {
      run: child.run,
      pid,
      pidStart: identity?.startTicks ?? null,
      bootId: identity?.bootId ?? null,
    });
    this.#log.info({ pid, run: child.run, port: this.#port }, "tracker started");
    this.#connect(child, child.run);
  }

  #connect(child: Child, run: number): void {
    const { clock, backlog } = this.#deps;
    this.#link = new TrackerLink({
      clock,
      backlog,
      queue: this.queue,
      port: this.#port!,
      onUp: () => {
        child.markReady();
        this.#events.beginRun(run, this.queue.fed());
      },
      onHungUp: () => {
        clock.after(HANG_UP_MS, () => {
          if (this.#child === child && child.run === run) child.fail("it has hung up");
        });
      },
      onError: (err) => this.#log.error({ err }, "the tracker's connection failed"),
    });
    void this.#link.open();
  }

  /** With its last words, unless it was told to go. */
  #logEnd({ run, code, signal }: RunEnd, stderr: StderrRing): void {
    const state = this.#child?.state;
    const asked = state?.at === "stopping" && state.then === "stopped";
    const said = asked ? {} : { stderr: stderr.lines(STDERR_LINES_MAX) };
    this.#log.info({ run, exit_code: code, signal, ...said }, "tracker ended");
    stderr.clear();
  }

  #publish(): void {
    const state = this.state;
    if (state === this.#publishedState) return;
    const previous = this.#publishedState;
    this.#publishedState = state;
    const data = { state, previous_state: previous };
    const atMs = this.#deps.clock.nowMs();
    this.#deps.bus.publish({ kind: "tracker.state", streamId: this.streamId, atMs, data });
  }
}
