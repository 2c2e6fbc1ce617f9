/**
 * The coordinator's end of an agent session after its welcome: numbers the lines, checks each frame, offers them to the
 * tracker, and acknowledges what the tracker's socket has accepted. Connection creates one for each session. (T1, T8)
 *
 * It is fast because authentication, routing and fencing are done once, at `hello`; each line is scanned once, on busy
 * streams with vector instructions; adjacent frames of a chunk go to the tracker's socket as one slice of that chunk,
 * without a copy; and one ack covers many frames.
 */
import { type Clock, type Counts, Keepalive, type Timer } from "@fleet/daemon";
import {
  ACK_INTERVAL_MS,
  type ByeCode,
  encodeLine,
  type FrameProblem,
  FrameReader,
  KEEPALIVE_MS,
  type NodeId,
  type ServerLine,
  SILENT_MS_MAX,
  skipSchema,
  WINDOW_BYTES,
} from "@fleet/protocol";
import type { Tracker } from "../../trackers/tracker.ts";
import type { ProgressStore, StreamProgress } from "./stream-progress.ts";

const ACK_BYTES = WINDOW_BYTES / 4;
const NO_BYTES = new Uint8Array(0);
/** Lines without a frame after which a session must have sent more frames than those, or it is ended. */
const JUNK_LINES_MAX = 1000;

/** What a session uses of its connection. */
export interface SessionLink {
  send(line: string): void;
  pause(): void;
  resume(): void;
  /** Sends `bye` and closes. */
  end(code: ByeCode): void;
  /** The agent has been silent for too long. */
  onDead(): void;
}

/** What a session is built from. */
export interface SessionParts {
  readonly nodeId: NodeId;
  readonly link: SessionLink;
  readonly clock: Clock;
  readonly tracker: Tracker;
  readonly progress: StreamProgress;
  readonly store: ProgressStore;
  readonly counts: Counts;
  /** The sequence number of the first line after `welcome`. */
  readonly firstSeq: number;
}

/** One session, from `welcome` to the end of its connection. */
export class Session {
  readonly nodeId: NodeId;
  readonly #parts: SessionParts;
  #nextSeq: number;
  #ackedSeq: number;
  #unackedBytes = 0;
  #ackTimer: Timer | undefined;
  readonly #keepalive: Keepalive;
  #isClosed = false;
  #isPaused = false;
  /** Lines that were no frames, and frames, since the start. */
  #junkLines = 0;
  #frames = 0;
  /** Answers to the lines of the current chunk, sent together. */
  #answers = "";
  /** Whether lines without a frame have advanced `enqueued`, but the tracker has not been offered it. */
  #hasUnoffered = false;
  // The run of adjacent frames that is being collected from the current chunk.
  #chunk: Uint8Array = NO_BYTES;
  #runStart = 0;
  #runEnd = 0;
  #runFrames = 0;
  /** Bytes of the current chunk that an earlier connection has queued already. */
  #duplicateBytes = 0;
  readonly #reader = new FrameReader(
    (bytes, start, end) => this.#onFrame(bytes, start, end),
    (problem, line) => this.#onOther(problem, line?.object),
  );
  readonly #resume = (): void => {
    const { link, tracker } = this.#parts;
    // The queue also wakes its waiters when the tracker goes down, and then it has no more room than before.
    if (tracker.queue.isFull) {
      tracker.queue.onRoom(this.#resume);
      return;
    }
    this.#isPaused = false;
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
      onIdle: () => this.#send({ type: "ack", seq: this.#ackedSeq }),
      onDead: () => parts.link.onDead(),
    });
  }

  /** Reads a chunk that has arrived. */
  data(chunk: Uint8Array): void {
    const { tracker } = this.#parts;
    this.#keepalive.received();
    this.#chunk = chunk;
    this.#reader.push(chunk);
    this.#flushRun();
    if (this.#hasUnoffered) this.#pass(NO_BYTES, 0, this.#parts.progress.enqueued);
    this.#chunk = NO_BYTES;
    this.#sendAnswers();
    if (this.#isClosed) return;
    if (this.#isJunk) {
      this.#fail("mostly_junk");
      return;
    }
    if (this.#duplicateBytes > 0) this.#ackDuplicates();
    if (tracker.queue.isFull && !this.#isPaused) {
      this.#isPaused = true;
      this.#keepalive.setReading(false);
      this.#parts.link.pause();
      tracker.queue.onRoom(this.#resume);
    }
  }

  /** Ends the session when its connection has closed. Frames that wait for the tracker stay queued. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#keepalive.stop();
    this.#ackTimer?.cancel();
    this.#parts.tracker.queue.offRoom(this.#resume);
    this.#parts.tracker.detach();
  }

  #onOther(problem: FrameProblem, object: Record<string, unknown> | undefined): void {
    if (this.#isClosed) return;
    if (object?.["type"] === "skip") this.#skip(object);
    else this.#reject(problem);
    this.#junkLines++;
    if (this.#isJunk) this.#reader.stop();
  }

  /** Whether the peer sends mostly lines that are no frames: answering them would cost more than they are worth. */
  get #isJunk(): boolean {
    return this.#junkLines > JUNK_LINES_MAX && this.#junkLines > this.#frames;
  }

  #sendAnswers(): void {
    if (this.#answers === "") return;
    const answers = this.#answers;
    this.#answers = "";
    this.#keepalive.sent();
    this.#parts.link.send(answers);
  }

  #onFrame(bytes: Uint8Array, start: number, end: number): void {
    if (this.#isClosed) return;
    const seq = this.#nextSeq++;
    this.#frames++;
    const { progress } = this.#parts;
    if (seq <= progress.enqueued) {
      this.#parts.counts.add("duplicate");
      this.#duplicateBytes += end - start + 1;
      return;
    }
    const isInPlace = bytes === this.#chunk;
    // Before `enqueued` advances, because it is the last number of the run.
    if (!isInPlace || this.#runEnd !== start) this.#flushRun();
    progress.enqueued = seq;
    if (!isInPlace) {
      this.#pass(bytes.slice(start, end + 1), 1, seq);
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
    this.#pass(bytes, frames, this.#parts.progress.enqueued);
  }

  #pass(bytes: Uint8Array, frames: number, lastSeq: number): void {
    const { tracker, store, progress } = this.#parts;
    this.#hasUnoffered = false;
    tracker.offer(bytes, frames, () => {
      store.accept(progress, lastSeq);
      this.#accepted(bytes.length);
    });
  }

  /** Acknowledges frames that an earlier connection has queued: the ack is due when the tracker has accepted these. */
  #ackDuplicates(): void {
    const bytes = this.#duplicateBytes;
    this.#duplicateBytes = 0;
    this.#parts.tracker.offer(NO_BYTES, 0, () => this.#accepted(bytes));
  }

  #accepted(bytes: number): void {
    if (this.#isClosed) return;
    this.#unackedBytes += bytes;
    if (this.#unackedBytes >= ACK_BYTES) this.#ack();
    else this.#ackTimer ??= this.#parts.clock.after(ACK_INTERVAL_MS, () => this.#ack());
  }

  #ack(): void {
    this.#ackTimer?.cancel();
    this.#ackTimer = undefined;
    this.#unackedBytes = 0;
    // Frames that an earlier connection queued may be ahead of those that this one has received.
    const seq = Math.min(this.#parts.progress.accepted, this.#nextSeq - 1);
    if (this.#isClosed || seq <= this.#ackedSeq) return;
    this.#ackedSeq = seq;
    this.#send({ type: "ack", seq });
  }

  #send(line: ServerLine): void {
    this.#keepalive.sent();
    this.#parts.link.send(encodeLine(line));
  }

  /** Rejects a line that is not a frame. The line has used its number, which is handled once all numbers before it are. */
  #reject(problem: FrameProblem): void {
    this.#flushRun();
    const seq = this.#nextSeq++;
    const { progress, counts } = this.#parts;
    counts.add(problem);
    this.#answers += encodeLine({ type: "rejected", seq, code: "bad_frame" });
    if (seq <= progress.enqueued) {
      this.#duplicateBytes++;
      return;
    }
    progress.enqueued = seq;
    this.#hasUnoffered = true;
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
    this.#hasUnoffered = true;
  }

  #fail(reason: string): void {
    this.#parts.counts.add(reason);
    this.#flushRun();
    this.#sendAnswers();
    this.#parts.link.end("bad_session");
  }
}
