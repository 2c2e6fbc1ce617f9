/**
 * The tracker of one stream: takes the stream's frames, keeps a tracker process running while there are sources, and reads
 * what the process finds. The process starts when a source attaches or a frame arrives and survives a source's short
 * absence. TrackerManager owns every Tracker. (T2, T4, T5)
 *
 *   STOPPED → STARTING → RUNNING ⇄ OUTAGE → STOPPING → STOPPED;   any run that dies → BACKOFF → STARTING
 *
 * OUTAGE is a running process without a source. The process is stopped when that lasts for `extendedOutageMs`.
 */
import type { Log, Timer } from "@fleet/daemon";
import { type EncodedFrame, nodeOfStream, type StreamId, type TrackerView } from "@fleet/protocol";
import { type Feed, PUSHED } from "./feed/feed.ts";
import { FrameQueue } from "./feed/frame-queue.ts";
import { countOf, needsProcess, nextSources, type SourceEvent, type Sources } from "./sources.ts";
import { StreamActivity } from "./stream-activity.ts";
import type { TrackerDeps } from "./tracker-deps.ts";
import { TrackerProcess } from "./tracker-process.ts";
import type { TrackerRow } from "./tracker-store.ts";
import { EventReader } from "./tracks/event-reader.ts";
import { LatestTracks } from "./tracks/latest-tracks.ts";

/** One stream's tracker. */
export class Tracker {
  readonly streamId: StreamId;
  readonly feed: Feed;
  readonly queue: FrameQueue;
  readonly tracks = new LatestTracks();
  readonly events: EventReader;
  readonly activity: StreamActivity;
  readonly #deps: TrackerDeps;
  readonly #log: Log;
  readonly #process: TrackerProcess;
  readonly #origin: TrackerRow["source"];
  #sources: Sources = { at: "idle" };
  #outageTimer: Timer | undefined;
  /** The timestamp inside the latest frame that was offered with one. */
  #lastTimestampMs: number | undefined;
  #publishedState: TrackerView["state"] = "STOPPED";

  constructor(deps: TrackerDeps, row: TrackerRow, feed: Feed = PUSHED) {
    this.#deps = deps;
    this.streamId = row.streamId as StreamId;
    this.feed = feed;
    this.#origin = row.source;
    this.#log = deps.log.child({ stream_id: this.streamId });
    this.queue = new FrameQueue(deps.redeliveryBudget);
    this.events = new EventReader(deps, this.streamId, this.tracks);
    this.activity = new StreamActivity(deps.clock, row);
    this.#process = new TrackerProcess({
      deps,
      log: this.#log,
      streamId: this.streamId,
      queue: this.queue,
      events: this.events,
      runsBefore: row.run,
      onState: () => this.#publish(),
      onStopped: () => this.#onStopped(),
    });
  }

  /** Whether the process runs, or is about to. */
  get isActive(): boolean {
    return this.#process.isActive;
  }

  /** Whether a source is attached and there is no process, because no port was free. */
  get lacksPort(): boolean {
    return this.#sources.at === "present" && !this.isActive;
  }

  /** Whether the process can be sent frames. */
  get isConnected(): boolean {
    return this.#process.isConnected;
  }

  /**
   * Whether even a source that cannot wait should. While the process is down it should not: nothing makes room, and the
   * queue drops the oldest frames.
   */
  get isCongested(): boolean {
    return this.isConnected && this.queue.isFull;
  }

  get state(): TrackerView["state"] {
    const at = this.#process.state;
    if (at === "running" && countOf(this.#sources) === 0) return "OUTAGE";
    return at.toUpperCase() as Uppercase<typeof at>;
  }

  /**
   * Attaches a source, and starts the process unless it is active. Returns false when no port is free. The source owes one
   * `detach` for each `attach` that returned true.
   */
  attach(): boolean {
    if (!this.#ensureProcess()) return false;
    this.#enter({ at: "attached" });
    this.#publish();
    return true;
  }

  /** Detaches a source. The outage begins with the last one. (T4) */
  detach(): void {
    this.#enter({ at: "detached", outageEndsAtMs: this.#outageEndsAtMs() });
    if (countOf(this.#sources) > 0) return;
    this.activity.lostSources();
    this.#publish();
  }

  /**
   * Queues whole lines of checked frames from a source that stops reading while the queue is full. `bytes` must not change.
   * Calls `onAccepted` once, when the process's socket has taken all of them; for no bytes, in its turn behind everything
   * queued before.
   */
  offer(bytes: Uint8Array, frames: number, onAccepted?: () => void): void {
    this.queue.write(bytes, frames, onAccepted);
    if (frames > 0) this.#onFrames();
  }

  /**
   * Queues one frame from a source that cannot wait: while the process is down, a full queue drops the oldest of them.
   * Returns false, and does nothing, for a frame with the timestamp of the one before. A source that reconnects may begin
   * with the frame it sent last. (T1)
   */
  offerDroppable({ bytes, timestampMs }: EncodedFrame): boolean {
    if (this.isRepeated(timestampMs)) return false;
    this.#lastTimestampMs = timestampMs;
    this.queue.writeDroppable(bytes);
    this.#onFrames();
    return true;
  }

  /** Whether the latest frame from a source that cannot wait had this timestamp. */
  isRepeated(timestampMs: number): boolean {
    return timestampMs === this.#lastTimestampMs;
  }

  /** Called once a second: samples the frame rate, ends a process that reads nothing, looks for a port again. */
  tick(): void {
    // A source that waits for room does not ask again.
    if (this.lacksPort) this.#ensureProcess();
    this.#process.tick();
    this.activity.sample(this.queue.framesAccepted);
  }

  /** Drains the queue and stops the process by `deadlineMs` (monotonic). A source or a frame starts it again. (T6) */
  stop(deadlineMs: number): Promise<void> {
    this.#enter({ at: "stopping" });
    return this.#process.stop(deadlineMs);
  }

  /** Stops the process like `stop`; nothing starts it again. */
  retire(deadlineMs: number): Promise<void> {
    this.#enter({ at: "retired" });
    return this.#process.stop(deadlineMs);
  }

  toView(): TrackerView {
    return {
      stream_id: this.streamId,
      node_id: nodeOfStream(this.streamId),
      state: this.state,
      source: this.#origin,
      ...this.feed,
      port: this.#deps.pool.portOf(this.streamId) ?? null,
      run: this.#process.run,
      pid: this.#process.pid ?? null,
      frames: this.queue.framesAccepted,
      frames_waiting: this.queue.waitingFrames,
      frames_dropped: { ...this.queue.dropped },
      frames_redelivered: this.queue.framesRedelivered,
      frames_per_s: this.activity.framesPerS,
      events: this.tracks.events,
      tracks: this.tracks.tracks,
      tracks_live: this.tracks.live(this.#deps.clock.nowMs()),
      last_frame_at: this.activity.lastFrameAtMs,
    };
  }

  #onFrames(): void {
    this.activity.sawFrames();
    if (this.isActive) this.#enter({ at: "frames" });
    else this.#restart();
  }

  #onStopped(): void {
    if (needsProcess(this.#sources, this.queue.waitingFrames)) this.#restart();
  }

  #restart(): void {
    this.#ensureProcess();
    this.#enter({ at: "started", outageEndsAtMs: this.#outageEndsAtMs() });
  }

  #ensureProcess(): boolean {
    return this.isActive || (this.#sources.at !== "retired" && this.#process.start());
  }

  #outageEndsAtMs(): number {
    return this.#deps.clock.monotonicMs() + this.#deps.options.extendedOutageMs;
  }

  /** The only place where `#sources` changes. An outage has a timer for as long as it lasts. */
  #enter(event: SourceEvent): void {
    const next = nextSources(this.#sources, event);
    if (next === this.#sources) return;
    this.#sources = next;
    this.#outageTimer?.cancel();
    this.#outageTimer = undefined;
    if (next.at !== "outage") return;
    const waitMs = next.endsAtMs - this.#deps.clock.monotonicMs();
    this.#outageTimer = this.#deps.clock.after(waitMs, () => this.#onOutageEnd());
  }

  #onOutageEnd(): void {
    // A process that is still starting, or is stopping to be started again, has frames to read first.
    const isChanging = this.state === "STARTING" || this.#process.isStopping;
    if (isChanging && this.queue.waitingFrames > 0) {
      this.#enter({ at: "started", outageEndsAtMs: this.#outageEndsAtMs() });
      return;
    }
    this.#log.info({}, "no source for too long, stopping the tracker");
    const graceMs = this.#deps.options.stopGraceMs * 2;
    void this.stop(this.#deps.clock.monotonicMs() + graceMs);
  }

  #publish(): void {
    const { state } = this;
    const previous = this.#publishedState;
    if (state === previous) return;
    this.#publishedState = state;
    const data = { state, previous_state: previous };
    const atMs = this.#deps.clock.nowMs();
    this.#deps.bus.publish({ kind: "tracker.state", streamId: this.streamId, atMs, data });
  }
}
