/**
 * The feed into one tracker: takes frames in order, hands them to the tracker's socket, and says when they were accepted
 * there, which is what an ack means. Bounded by RECEIVER_FRAMES_MAX and RECEIVER_BYTES_MAX: while the tracker runs a full
 * feed asks its sources to stop reading; while it is down a source that can't wait has its oldest frame dropped. (T8)
 *
 * Each connection is another run of the tracker. It is first given again what the last one may not have read. (T5)
 */
import { type Fed, RedeliveryBuffer, RedeliveryBudget } from "./redelivery-buffer.ts";

/** Frames that may wait for the tracker. (DESIGN §6) */
export const RECEIVER_FRAMES_MAX = 2000;
/** New bytes that may wait for the tracker, beyond the chunk that crossed the line. */
export const RECEIVER_BYTES_MAX = 1024 * 1024;

/** Handled entries, and with them the chunks they lie in, that may stay in the queue beside as many waiting ones. */
const COMPACT_MIN = 64;
/** Kept of what was given where nobody can tell what is read. */
const BLIND_BYTES_MAX = 1024 * 1024;
/** So much more given than was known to be read makes a look at what is unread worth its while. */
const LOOK_BYTES = 1024 * 1024;

/** Where accepted bytes go: the part of a Bun socket that is used here. */
export interface Sink {
  /** Takes a prefix of `bytes` and says how long it is; less than all means: wait for `drained()`. Negative: closed. */
  write(bytes: Uint8Array): number;
  end(): void;
}

interface Entry {
  readonly bytes: Uint8Array;
  readonly frames: number;
  /** Called once, when the socket has taken all of `bytes`. */
  readonly onAccepted: () => void;
  /** `new`, or new from a source that can't be made to wait: dropped first when the tracker is down; or given before. */
  readonly kind: "new" | "droppable" | "again";
}

const NOTHING = (): void => {};

/** An ordered, bounded feed of whole lines. */
export class FrameQueue {
  /** Frames the tracker's socket has taken. */
  framesAccepted = 0;
  /** Frames given again to a later run; not counted in `framesAccepted` another time. */
  framesRedelivered = 0;
  /** Frames dropped by reason. */
  readonly dropped = { tracker_down: 0 };
  readonly #history: RedeliveryBuffer;
  #isBlind = false;
  readonly #queue: Entry[] = [];
  #head = 0;
  #headWritten = 0;
  /** Of what waits, less what is to be given again: that must not take new frames their room. */
  #entries = 0;
  #frames = 0;
  #bytes = 0;
  #sink: Sink | undefined;
  /** Bytes the current socket has taken. */
  #written = 0;
  #blocked = false;
  readonly #waiting = new Set<() => void>();
  readonly #idleWaiters: (() => void)[] = [];
  #lookAtBytes = LOOK_BYTES;
  /** Called when much was given since `wasRead`. */
  onMuch: () => void = NOTHING;

  /** `total` is shared by all receivers of a coordinator. */
  constructor(total: RedeliveryBudget = new RedeliveryBudget()) {
    this.#history = new RedeliveryBuffer(total);
  }

  /** Whether a source should stop reading until `onRoom`. Entries count too: those of a source that sends none but bad lines. */
  get full(): boolean {
    return (
      this.#frames >= RECEIVER_FRAMES_MAX ||
      this.#bytes >= RECEIVER_BYTES_MAX ||
      this.#entries >= RECEIVER_FRAMES_MAX
    );
  }

  /** Bytes the tracker's current socket has taken. */
  get bytesWritten(): number {
    return this.#written;
  }

  /** Frames waiting, those to be given again left out. */
  get waitingFrames(): number {
    return this.#frames;
  }

  /** Calls `resume` once, when a full feed has room again or its tracker has gone down. */
  onRoom(resume: () => void): void {
    this.#waiting.add(resume);
  }

  /** Takes back an `onRoom`. */
  offRoom(resume: () => void): void {
    this.#waiting.delete(resume);
  }

  /**
   * Queues whole lines from a source that stops reading when the feed is full. `bytes` must stay as they are. With no
   * bytes at all, `onAccepted` is called in its turn, behind everything queued before.
   */
  write(bytes: Uint8Array, frames: number, onAccepted: () => void = NOTHING): void {
    this.#push({ bytes, frames, onAccepted, kind: "new" });
  }

  /** Queues one frame. While the tracker is down a full feed drops its oldest such frames and counts them. (T1) */
  writeDroppable(bytes: Uint8Array): void {
    while (this.full && this.#sink === undefined && this.#dropOldest());
    this.#push({ bytes, frames: 1, onAccepted: NOTHING, kind: "droppable" });
  }

  /** The socket of a new run is open: it gets what the last run may have left unread, then what waits. */
  connect(sink: Sink): void {
    this.#sink = sink;
    this.#blocked = false;
    this.#written = 0;
    // A line that the last socket took in part is sent again whole.
    this.#headWritten = 0;
    const again = this.#history
      .take()
      .map((fed): Entry => ({ ...fed, onAccepted: NOTHING, kind: "again" }));
    this.#queue.splice(0, this.#head, ...again);
    this.#head = 0;
    this.#flush();
  }

  /** What the next run gets that an earlier one was given. */
  fed(): readonly Fed[] {
    const again = this.#queue.slice(this.#head).filter((e) => e.kind === "again");
    const head = this.#queue[this.#head];
    const part = head !== undefined && head.kind !== "again" ? this.#headWritten : 0;
    const cut = part === 0 ? [] : [{ bytes: head!.bytes.subarray(0, part), frames: 0 }];
    return [...this.#history.list(), ...again, ...cut];
  }

  /**
   * The tracker has read all but the last `unreadBytes`: what lies well before them is not kept any longer. Undefined when
   * nobody can tell; then only a little is.
   */
  wasRead(unreadBytes: number | undefined): void {
    this.#isBlind = unreadBytes === undefined;
    if (unreadBytes === undefined) this.#history.bound(BLIND_BYTES_MAX);
    else this.#history.trim(unreadBytes);
    this.#lookAtBytes = this.#history.bytes + LOOK_BYTES;
    if (!this.#blocked) this.#flush();
  }

  /** Nothing is given again: the tracker has read it all, or dies of it. Gives the frames that are forgotten. */
  forget(): number {
    const fed = this.fed();
    this.#history.clear();
    const kept = this.#queue.slice(this.#head).filter((e) => e.kind !== "again");
    if (this.#queue[this.#head]?.kind === "again") this.#headWritten = 0;
    this.#queue.splice(0, this.#queue.length, ...kept);
    this.#head = 0;
    return fed.reduce((sum, { frames }) => sum + frames, 0);
  }

  /** The tracker's socket is gone. An older socket than the current one is ignored. */
  disconnect(sink: Sink): void {
    if (this.#sink !== sink) return;
    this.#sink = undefined;
    this.#wake();
  }

  /** The socket can take more. */
  drained(sink: Sink): void {
    if (this.#sink !== sink) return;
    this.#blocked = false;
    this.#flush();
  }

  /** Resolves when nothing waits any more. */
  whenIdle(): Promise<void> {
    if (this.#head === this.#queue.length) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #push(entry: Entry): void {
    this.#queue.push(entry);
    this.#entries++;
    this.#frames += entry.frames;
    this.#bytes += entry.bytes.length;
    if (!this.#blocked) this.#flush();
  }

  #flush(): void {
    const sink = this.#sink;
    if (sink === undefined) return;
    while (this.#head < this.#queue.length) {
      // What can't be kept for another run is not given to this one yet.
      if (this.#history.isFull) {
        this.onMuch();
        break;
      }
      const entry = this.#queue[this.#head]!;
      const rest = this.#headWritten === 0 ? entry.bytes : entry.bytes.subarray(this.#headWritten);
      const written = rest.length === 0 ? 0 : sink.write(rest);
      if (written < rest.length) {
        this.#headWritten += Math.max(0, written);
        this.#written += Math.max(0, written);
        this.#blocked = true;
        break;
      }
      this.#written += written;
      this.#shift(entry);
      this.#history.add(entry.bytes, entry.frames);
      if (this.#isBlind) this.#history.bound(BLIND_BYTES_MAX);
      if (entry.kind === "again") {
        this.framesRedelivered += entry.frames;
        continue;
      }
      this.framesAccepted += entry.frames;
      entry.onAccepted();
    }
    this.#compact();
    if (this.#history.bytes >= this.#lookAtBytes) {
      this.#lookAtBytes += LOOK_BYTES;
      this.onMuch();
    }
    if (!this.full) this.#wake();
  }

  #shift(entry: Entry): void {
    this.#head++;
    this.#headWritten = 0;
    if (entry.kind !== "again") this.#leave(entry);
  }

  #leave({ frames, bytes }: Entry): void {
    this.#entries--;
    this.#frames -= frames;
    this.#bytes -= bytes.length;
  }

  /** False when there is none to drop. */
  #dropOldest(): boolean {
    const at = this.#queue.findIndex((e, i) => i >= this.#head && e.kind === "droppable");
    if (at < 0) return false;
    const [entry] = this.#queue.splice(at, 1);
    if (at === this.#head) this.#headWritten = 0;
    this.#leave(entry!);
    this.dropped.tracker_down += entry!.frames;
    return true;
  }

  /** Gives back the handled front of the queue, at once when it is empty and else when it is the larger half. */
  #compact(): void {
    if (this.#head === this.#queue.length) {
      this.#queue.length = 0;
      this.#head = 0;
      for (const resolve of this.#idleWaiters.splice(0)) resolve();
    } else if (this.#head >= COMPACT_MIN && this.#head * 2 >= this.#queue.length) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #wake(): void {
    if (this.#waiting.size === 0) return;
    const resumes = [...this.#waiting];
    this.#waiting.clear();
    for (const resume of resumes) resume();
  }
}
