/**
 * The coordinator's end of an agent session that has been let in: numbers the lines, checks each frame, passes the bytes
 * on, acknowledges what the tracker's socket has accepted. (T1, T8, DESIGN §6)
 *
 * What makes it fast: authentication, routing and fencing happened once, at `hello`. A line is looked at once, on
 * busy streams with vector instructions; neighbouring good lines of a chunk go to the tracker's socket as one slice of
 * that chunk, uncopied; an ack covers many.
 */
import { type Clock, type Counts, Keepalive, type Timer } from "@fleet/daemon";
import {
  ACK_INTERVAL_MS,
  type ByeCode,
  checkFrame,
  encodeLine,
  type FrameProblem,
  KEEPALIVE_MS,
  type LineDecoder,
  type NodeId,
  prepareFrames,
  type ServerLine,
  SILENT_MS_MAX,
  skipSchema,
  WINDOW_BYTES,
} from "@fleet/protocol";
import type { Tracker } from "../../trackers/tracker.ts";
import type { ProgressStore, StreamProgress } from "./stream-progress.ts";

const ACK_BYTES = WINDOW_BYTES / 4;
const NO_BYTES = new Uint8Array(0);

/** The connection as its session sees it. */
export interface SessionLink {
  send(line: string): void;
  pause(): void;
  resume(): void;
  /** Sends `bye` and closes. */
  end(code: ByeCode): void;
  /** The agent is not there any more. */
  dead(): void;
}

/** What a session is made of. */
export interface SessionParts {
  readonly nodeId: NodeId;
  readonly link: SessionLink;
  readonly clock: Clock;
  readonly tracker: Tracker;
  readonly progress: StreamProgress;
  readonly store: ProgressStore;
  readonly counts: Counts;
  /** The number of the first line after `welcome`. */
  readonly firstSeq: number;
}

/** One open session. */
export class Session {
  readonly nodeId: NodeId;
  readonly #parts: SessionParts;
  #nextSeq: number;
  #ackedSeq: number;
  #unackedBytes = 0;
  #ackTimer: Timer | undefined;
  readonly #keepalive: Keepalive;
  #closed = false;
  #paused = false;
  // The run of neighbouring good lines that is being collected from the current chunk.
  #chunk: Uint8Array = NO_BYTES;
  #runStart = 0;
  #runEnd = 0;
  #runFrames = 0;
  /** Whether the current chunk had frames in it. */
  #sawFrames = false;
  /** Bytes of the current chunk that an earlier connection has handed over already. */
  #duplicateBytes = 0;
  readonly #onLine = (bytes: Uint8Array, start: number, end: number): void =>
    this.#line(bytes, start, end);
  readonly #onOversized = (): void => {
    if (!this.#closed) this.#reject("too_long");
  };
  readonly #resume = (): void => {
    const { link, tracker } = this.#parts;
    // The feed wakes everybody when its tracker goes down too; there is no more room then.
    if (tracker.queue.full) {
      tracker.queue.onRoom(this.#resume);
      return;
    }
    this.#paused = false;
    this.#keepalive.setReading(true);
    link.resume();
  };

  constructor(parts: SessionParts) {
    this.nodeId = parts.nodeId;
    this.#parts = parts;
    this.#nextSeq = parts.firstSeq;
    this.#ackedSeq = parts.firstSeq - 1;
    this.#keepalive = new Keepalive({
      clock: parts.clock,
      idleMs: KEEPALIVE_MS,
      deadMs: SILENT_MS_MAX,
      onIdle: () => this.#say({ type: "ack", seq: this.#ackedSeq }),
      onDead: () => parts.link.dead(),
    });
  }

  /** Takes a chunk off the wire. */
  data(chunk: Uint8Array, decoder: LineDecoder): void {
    const { tracker } = this.#parts;
    this.#keepalive.received();
    this.#chunk = chunk;
    prepareFrames(chunk);
    decoder.push(chunk, this.#onLine, this.#onOversized);
    this.#flushRun();
    this.#chunk = NO_BYTES;
    if (this.#closed) return;
    if (this.#duplicateBytes > 0) this.#ackDuplicates();
    if (this.#sawFrames) tracker.sawFrames();
    this.#sawFrames = false;
    if (tracker.queue.full && !this.#paused) {
      this.#paused = true;
      this.#keepalive.setReading(false);
      this.#parts.link.pause();
      tracker.queue.onRoom(this.#resume);
    }
  }

  /** The connection has gone. What its frames wait for goes on without it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#keepalive.stop();
    this.#ackTimer?.cancel();
    this.#parts.tracker.queue.offRoom(this.#resume);
    this.#parts.tracker.detach();
  }

  #line(bytes: Uint8Array, start: number, end: number): void {
    if (this.#closed) return;
    const verdict = checkFrame(bytes, start, end);
    if (verdict.at === "not_frame") {
      if (verdict.object?.["type"] === "skip") this.#skip(verdict.object);
      else this.#reject(verdict.problem);
      return;
    }
    this.#sawFrames = true;
    const seq = this.#nextSeq++;
    const { progress } = this.#parts;
    if (seq <= progress.enqueued) {
      this.#parts.counts.add("duplicate");
      this.#duplicateBytes += end - start + 1;
      return;
    }
    const isInPlace = verdict.at === "frame" && bytes === this.#chunk;
    // Before `enqueued` moves on, since the run's own last number is read from it.
    if (!isInPlace || this.#runEnd !== start) this.#flushRun();
    progress.enqueued = seq;
    if (!isInPlace) {
      const line = verdict.at === "frame" ? bytes.slice(start, end + 1) : verdict.replacement;
      this.#pass(line, 1, seq, end - start + 1);
      return;
    }
    if (this.#runFrames === 0) this.#runStart = start;
    this.#runEnd = end + 1;
    this.#runFrames++;
  }

  #flushRun(): void {
    if (this.#runFrames === 0) return;
    const bytes = this.#chunk.subarray(this.#runStart, this.#runEnd);
    const frames = this.#runFrames;
    this.#runFrames = 0;
    this.#runEnd = 0;
    this.#pass(bytes, frames, this.#parts.progress.enqueued, bytes.length);
  }

  #pass(bytes: Uint8Array, frames: number, lastSeq: number, wireBytes: number): void {
    const { tracker, store, progress } = this.#parts;
    tracker.queue.write(bytes, frames, () => {
      store.accept(progress, lastSeq);
      this.#accepted(wireBytes);
    });
  }

  /** What an earlier connection queued reports to that one; behind it in the feed is where this one's ack is due. */
  #ackDuplicates(): void {
    const wireBytes = this.#duplicateBytes;
    this.#duplicateBytes = 0;
    this.#parts.tracker.queue.write(NO_BYTES, 0, () => this.#accepted(wireBytes));
  }

  #accepted(wireBytes: number): void {
    if (this.#closed) return;
    this.#unackedBytes += wireBytes;
    if (this.#unackedBytes >= ACK_BYTES) this.#ack();
    else this.#ackTimer ??= this.#parts.clock.after(ACK_INTERVAL_MS, () => this.#ack());
  }

  #ack(): void {
    this.#ackTimer?.cancel();
    this.#ackTimer = undefined;
    this.#unackedBytes = 0;
    // What an earlier connection handed over may be ahead of what came by this one.
    const seq = Math.min(this.#parts.progress.accepted, this.#nextSeq - 1);
    if (this.#closed || seq <= this.#ackedSeq) return;
    this.#ackedSeq = seq;
    this.#say({ type: "ack", seq });
  }

  #say(line: ServerLine): void {
    this.#keepalive.sent();
    this.#parts.link.send(encodeLine(line));
  }

  /** A line that is no frame has used its number; it counts as handled once all before it are. */
  #reject(problem: FrameProblem): void {
    this.#flushRun();
    const seq = this.#nextSeq++;
    const { progress, counts } = this.#parts;
    counts.add(problem);
    this.#say({ type: "rejected", seq, code: "bad_frame" });
    if (seq <= progress.enqueued) {
      this.#duplicateBytes++;
      return;
    }
    progress.enqueued = seq;
    this.#pass(NO_BYTES, 0, seq, 0);
  }

  #skip(object: Record<string, unknown>): void {
    const skip = skipSchema.safeParse(object).data;
    if (skip === undefined || skip.to < this.#nextSeq) {
      this.#fail("bad_skip");
      return;
    }
    this.#flushRun();
    this.#nextSeq = skip.to;
    const { progress } = this.#parts;
    if (skip.to - 1 <= progress.enqueued) {
      this.#duplicateBytes++;
      return;
    }
    progress.enqueued = skip.to - 1;
    this.#pass(NO_BYTES, 0, skip.to - 1, 0);
  }

  #fail(reason: string): void {
    this.#parts.counts.add(reason);
    this.#flushRun();
    this.#parts.link.end("bad_session");
  }
}
