/**
 * The tracker of one stream: its process, the connection into it, and what comes out of it. The process is started when
 * a source connects or a frame comes, kept through a source's short absence, and restarted with backoff when it dies.
 *
 *   STOPPED → STARTING → RUNNING ⇄ OUTAGE → STOPPING → STOPPED;   any run that dies → BACKOFF → STARTING
 *
 * OUTAGE is a running process without a source; after `extendedOutageMs` of it the process is stopped. (T2, T4, T5)
 */
import { type Clock, type Log, type Random, sleep, type Timer } from "@fleet/daemon";
import { LineDecoder, nodeOfStream, type StreamId, type TrackerView } from "@fleet/protocol";
import { Child, type ChildState, processIdentity } from "@fleet/supervisor";
import type { Bus } from "../bus.ts";
import type { Output } from "./output.ts";
import type { PortPool } from "./port-pool.ts";
import { Receiver, type Sink } from "./receiver.ts";
import { readEvent, TrackView } from "./track-view.ts";
import type { TrackerRow, TrackerStore } from "./tracker-store.ts";

const LOOPBACK = "127.0.0.1";
/** How often a starting tracker's port is tried. */
const CONNECT_RETRY_MS = 20;
const STABLE_AFTER_MS = 10_000;
const BACKOFF = { baseMs: 100, capMs: 10_000 };
/** Longest tracker event: longer than the 1 MiB of a frame, since events are many times their input. */
const EVENT_BYTES_MAX = 4 * 1024 * 1024;
const RATE_WINDOW_S = 5;
const STDERR_CHARS_MAX = 2000;

/** How trackers are run. */
export interface TrackerOptions {
  /** argv; `{port}` and `{stream}` stand for the lease and the stream id. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stopGraceMs: number;
  readonly extendedOutageMs: number;
  readonly startTimeoutMs: number;
}

/** What every tracker shares. */
export interface TrackerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly bus: Bus;
  readonly pool: PortPool;
  readonly store: TrackerStore;
  readonly output: Output;
  readonly options: TrackerOptions;
}

/** See the head of this file. */
export class Tracker {
  readonly streamId: StreamId;
  readonly receiver = new Receiver();
  readonly view = new TrackView();
  /** Lines of output that were not track events. */
  badEvents = 0;
  /** Monotonic ms of the last frame or connection; the idlest stopped tracker gives its port up first. */
  lastActiveMs: number;
  lastFrameAtMs: number | null;
  readonly #deps: TrackerDeps;
  readonly #log: Log;
  readonly #source: "config" | "auto";
  #runs: number;
  #child: Child | undefined;
  #port: number | undefined;
  #socket: Bun.Socket | undefined;
  #sources = 0;
  #outage: Timer | undefined;
  #publishedState = "STOPPED";
  readonly #frameCounts: number[] = [];
  #stopping: Promise<void> | undefined;

  constructor(deps: TrackerDeps, row: TrackerRow) {
    this.#deps = deps;
    this.streamId = row.streamId as StreamId;
    this.#log = deps.log.child({ stream_id: this.streamId });
    this.#source = row.source;
    this.#runs = row.run;
    this.lastFrameAtMs = row.lastFrameAt;
    this.lastActiveMs = deps.clock.monotonicMs();
  }

  /** Whether a process is there or on its way. */
  get active(): boolean {
    return this.#child !== undefined;
  }

  /** Whether the tracker's socket is open, so that waiting for room makes sense. */
  get connected(): boolean {
    return this.#socket !== undefined;
  }

  get state(): TrackerView["state"] {
    const at = this.#child?.state.at ?? "stopped";
    if (at === "running" && this.#sources === 0) return "OUTAGE";
    return STATES[at];
  }

  /**
   * A source is there. Starts the process when it isn't; `lease` ports come from the pool. False when there is none.
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
    this.#outage?.cancel();
    this.#outage = this.#deps.clock.after(this.#deps.options.extendedOutageMs, () => {
      this.#log.info({}, "no source for long, stopping the tracker");
      const graceMs = this.#deps.options.stopGraceMs * 2;
      void this.stop(this.#deps.clock.monotonicMs() + graceMs);
    });
  }

  /** Notes that frames came; restarts a process that was stopped meanwhile. */
  sawFrames(): void {
    this.lastFrameAtMs = this.#deps.clock.nowMs();
    this.lastActiveMs = this.#deps.clock.monotonicMs();
    if (this.#child === undefined) this.#ensureRunning();
  }

  /** Called once a second: keeps the frame rate. */
  tick(): void {
    this.#frameCounts.push(this.receiver.framesAccepted);
    if (this.#frameCounts.length > RATE_WINDOW_S + 1) this.#frameCounts.shift();
  }

  /** Drains what waits, closes the connection so that the tracker sees its input end, then stops the process. (T6) */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs).finally(() => {
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  toView(): TrackerView {
    const counts = this.#frameCounts;
    const seconds = Math.max(1, counts.length - 1);
    const recent = (counts.at(-1) ?? 0) - (counts[0] ?? 0);
    return {
      stream_id: this.streamId,
      node_id: nodeOfStream(this.streamId),
      state: this.state,
      source: this.#source,
      port: this.#deps.pool.portOf(this.streamId) ?? null,
      run: this.#runs,
      pid: this.#child?.pid ?? null,
      frames: this.receiver.framesAccepted,
      frames_waiting: this.receiver.waitingFrames,
      frames_dropped: { ...this.receiver.dropped },
      frames_per_s: recent / seconds,
      events: this.view.events,
      tracks: this.view.tracks,
      tracks_live: this.view.live(this.#deps.clock.nowMs()),
      last_frame_at: this.lastFrameAtMs,
    };
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.#outage?.cancel();
    this.#outage = undefined;
    const child = this.#child;
    if (child === undefined) return;
    if (this.#socket !== undefined) {
      const graceMs = this.#deps.options.stopGraceMs;
      const drainMs = Math.max(0, deadlineMs - graceMs - this.#deps.clock.monotonicMs());
      const cut = new AbortController();
      await Promise.race([
        this.receiver.whenIdle(),
        sleep(this.#deps.clock, drainMs, cut.signal).catch(() => {}),
      ]);
      cut.abort();
      this.#socket?.end();
    }
    await child.stop(deadlineMs).catch((err: unknown) => {
      this.#log.error({ err }, "the tracker did not stop in time");
    });
    this.#closeSocket();
    this.#child = undefined;
    this.#port = undefined;
    this.#publish();
  }

  #ensureRunning(): boolean {
    if (this.#child !== undefined) return true;
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
    const { clock, random, options } = this.#deps;
    const decoders = new Map<number, LineDecoder>();
    const child: Child = new Child({
      clock,
      random,
      log: this.#log,
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
        onStdout: (chunk, run) => this.#onStdout(chunk, run, decoders),
        onStderr: (chunk) => this.#onStderr(chunk),
        onState: (next) => this.#onState(child, next),
        onExit: ({ run, code, signal }) => {
          decoders.delete(run);
          this.#log.info({ run, exit_code: code, signal }, "tracker ended");
        },
      },
    });
    return child;
  }

  #onState(child: Child, next: ChildState): void {
    if (next.at === "starting") this.#onSpawned(child, next.pid);
    if (next.at === "backoff" || next.at === "stopped") {
      this.#closeSocket();
      this.#deps.store.update(this.streamId, { pid: null, pidStart: null, bootId: null });
    }
    if (next.at === "backoff") void this.#keepPort(child);
    this.#publish();
  }

  /** The port of a tracker that died may have been taken since: then another one is leased. */
  async #keepPort(child: Child): Promise<void> {
    if (this.#child !== child || this.#deps.pool.lease(this.streamId) === this.#port) return;
    await child.stop(this.#deps.clock.monotonicMs() + this.#deps.options.stopGraceMs);
    if (this.#child !== child) return;
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
    void this.#connect(child, child.run);
  }

  /** Tries the port until the tracker listens, as long as that run lasts. */
  async #connect(child: Child, run: number): Promise<void> {
    const isCurrent = (): boolean =>
      this.#child === child &&
      child.run === run &&
      (child.state.at === "starting" || child.state.at === "running");
    while (isCurrent()) {
      try {
        await this.#open(child);
        return;
      } catch {
        await sleep(this.#deps.clock, CONNECT_RETRY_MS);
      }
    }
  }

  async #open(child: Child): Promise<void> {
    const run = child.run;
    await Bun.connect({
      hostname: LOOPBACK,
      port: this.#port!,
      socket: {
        open: (socket) => {
          if (this.#child !== child || child.run !== run) {
            socket.terminate();
            return;
          }
          this.#socket = socket;
          child.markReady();
          this.receiver.connect(socket);
        },
        drain: (socket) => this.receiver.drained(socket as Sink),
        // A tracker speaks on stdout; what it says here is not read.
        data: () => {},
        close: (socket) => {
          this.receiver.disconnect(socket);
          if (this.#socket !== socket) return;
          this.#socket = undefined;
          void this.#connect(child, run);
        },
      },
    });
  }

  #closeSocket(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.receiver.disconnect(socket);
    socket.terminate();
  }

  #onStdout(chunk: Uint8Array, run: number, decoders: Map<number, LineDecoder>): void {
    let decoder = decoders.get(run);
    if (decoder === undefined) {
      decoder = new LineDecoder(EVENT_BYTES_MAX);
      decoders.set(run, decoder);
    }
    decoder.push(chunk, (bytes, start, end) => this.#onEvent(bytes, start, end, run));
  }

  #onEvent(bytes: Uint8Array, start: number, end: number, run: number): void {
    const event = readEvent(bytes, start, end);
    if (event === undefined) {
      this.badEvents++;
      return;
    }
    const atMs = this.#deps.clock.nowMs();
    this.view.add(event, bytes, start, run, atMs);
    this.#deps.output.write(this.streamId, bytes, start, event.end, run);
    if (this.#deps.bus.idle) return;
    this.#deps.bus.publish({
      topic: `track.${this.streamId}`,
      atMs,
      data: { stream_id: this.streamId, track_id: event.trackId, run },
    });
  }

  #onStderr(chunk: Uint8Array): void {
    const text = Buffer.from(chunk).toString("utf8").trimEnd();
    this.#log.debug({ text: text.slice(0, STDERR_CHARS_MAX) }, "tracker says");
  }

  #publish(): void {
    const state = this.state;
    if (state === this.#publishedState) return;
    const previous = this.#publishedState;
    this.#publishedState = state;
    this.#deps.bus.publish({
      topic: `tracker.${this.streamId}.state`,
      atMs: this.#deps.clock.nowMs(),
      data: { stream_id: this.streamId, state, previous_state: previous },
    });
  }
}

const STATES = {
  stopped: "STOPPED",
  starting: "STARTING",
  running: "RUNNING",
  backoff: "BACKOFF",
  stopping: "STOPPING",
} as const satisfies Record<ChildState["at"], TrackerView["state"]>;
