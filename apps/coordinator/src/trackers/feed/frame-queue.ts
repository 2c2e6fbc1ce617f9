/**
 * The ordered, bounded queue of frames into one tracker. It passes whole lines to the tracker's socket and reports when the
 * socket has accepted them, which is what an acknowledgement means. While the tracker runs, a full queue asks its sources
 * to stop reading; while it is down, sources that cannot wait have their oldest frames dropped. (T8)
 *
 * Each connection is another run of the tracker. A run first receives again what the run before it may not have read. (T5)
 */
import { RedeliveryBudget, RedeliveryBuffer, type SentLines } from "./redelivery-buffer.ts";

/** The queue is full when this many new frames wait. */
export const QUEUE_FRAMES_MAX = 2000;
/** The queue is full when this many new bytes wait; the chunk that crosses the limit is still taken. */
export const QUEUE_BYTES_MAX = 1024 * 1024;

/** Handled entries are removed in groups of at least this many, because each removal moves the rest of the queue. */
const COMPACT_MIN = 64;
/** Bytes kept for redelivery when the system does not report how much of them is unread. */
const BLIND_BYTES_MAX = 1024 * 1024;
/** After this many bytes more than were known to be read, another reading of the backlog is due. */
const READING_BYTES = 1024 * 1024;

/** The tracker's end of the queue: the part of a Bun socket that is used here. */
export interface Sink {
  /**
   * Accepts a prefix of `bytes` and returns its length. After less than all of it, the next write waits for `drained()`.
   * Returns a negative number when the socket is closed.
   */
  write(bytes: Uint8Array): number;
  end(): void;
}

interface Entry extends SentLines {
  /** Called once, when the socket has accepted all of `bytes`. */
  readonly onAccepted: () => void;
  /**
   * `new`: from a source that waits. `droppable`: from a source that cannot wait, so it is dropped first. `redelivery`: an
   * earlier run was sent it.
   */
  readonly kind: "new" | "droppable" | "redelivery";
}

const DO_NOTHING = (): void => {};

/** The frame queue of one stream, across the runs of its tracker. */
export class FrameQueue {
  /** Frames that the tracker's socket has accepted, each counted once. */
  framesAccepted = 0;
  /** Frames that were sent again to a later run. */
  framesRedelivered = 0;
  /** Frames that were sent to runs that kept dying, and are not sent again. */
  framesAbandoned = 0;
  /** Frames dropped, by reason. */
  readonly dropped = { tracker_down: 0 };
  /** Called when a reading of the socket's backlog is due; `noteUnread` reports its result. */
  onReadingDue: () => void = DO_NOTHING;
  readonly #sent: RedeliveryBuffer;
  #isBlind = false;
  /** What waits, in order, from index `#head` on. */
  readonly #entries: Entry[] = [];
  #head = 0;
  /** Bytes of the first waiting entry that the socket has accepted. */
  #headAccepted = 0;
  // What waits, without redeliveries: these must not take the room of new frames.
  #newEntries = 0;
  #newFrames = 0;
  #newBytes = 0;
  #sink: Sink | undefined;
  #bytesAccepted = 0;
  #isBlocked = false;
  readonly #roomWaiters = new Set<() => void>();
  readonly #idleWaiters: (() => void)[] = [];
  #readingDueAtBytes = READING_BYTES;

  /** All queues of a coordinator share one `budget`. */
  constructor(budget: RedeliveryBudget = new RedeliveryBudget()) {
    this.#sent = new RedeliveryBuffer(budget);
  }

  /** Whether a source should stop reading until `onRoom`. Entries count too, for sources that send nothing but bad lines. */
  get isFull(): boolean {
    return (
      this.#newFrames >= QUEUE_FRAMES_MAX ||
      this.#newBytes >= QUEUE_BYTES_MAX ||
      this.#newEntries >= QUEUE_FRAMES_MAX
    );
  }

  /** Bytes that the current socket has accepted. */
  get bytesAccepted(): number {
    return this.#bytesAccepted;
  }

  /** New frames that wait; redeliveries are not counted. */
  get waitingFrames(): number {
    return this.#newFrames;
  }

  /** Calls `resume` once, when a full queue has room again or its tracker goes down. */
  onRoom(resume: () => void): void {
    this.#roomWaiters.add(resume);
  }

  /** Withdraws an `onRoom`. */
  offRoom(resume: () => void): void {
    this.#roomWaiters.delete(resume);
  }

  /**
   * Queues whole lines from a source that stops reading while the queue is full. `bytes` must not change. With no bytes,
   * `onAccepted` is called in its turn, behind everything queued before.
   */
  write(bytes: Uint8Array, frames: number, onAccepted: () => void = DO_NOTHING): void {
    this.#push({ bytes, frames, onAccepted, kind: "new" });
  }

  /** Queues one frame of a source that cannot wait. While the tracker is down, a full queue drops the oldest of these. (T1) */
  writeDroppable(bytes: Uint8Array): void {
    while (this.isFull && this.#sink === undefined && this.#dropOldest());
    this.#push({ bytes, frames: 1, onAccepted: DO_NOTHING, kind: "droppable" });
  }

  /** Connects the socket of a new run. It receives what the last run may not have read, then what waits. */
  connect(sink: Sink): void {
    this.#sink = sink;
    this.#isBlocked = false;
    this.#bytesAccepted = 0;
    // A line that the last socket accepted in part is sent again whole.
    this.#headAccepted = 0;
    const redelivery = this.#sent
      .take()
      .map((sent): Entry => ({ ...sent, onAccepted: DO_NOTHING, kind: "redelivery" }));
    this.#entries.splice(0, this.#head, ...redelivery);
    this.#head = 0;
    this.#flush();
  }

  /** What the next run is sent again, in order. The last line may be incomplete. */
  redelivery(): readonly SentLines[] {
    const waiting = this.#entries.slice(this.#head).filter((e) => e.kind === "redelivery");
    const head = this.#entries[this.#head];
    const isPartlySent = head !== undefined && head.kind !== "redelivery" && this.#headAccepted > 0;
    const part = isPartlySent
      ? [{ bytes: head.bytes.subarray(0, this.#headAccepted), frames: 0 }]
      : [];
    return [...this.#sent.list(), ...waiting, ...part];
  }

  /**
   * Notes that the tracker has read all but the last `unreadBytes`, so that what lies well before them need not be kept.
   * Undefined means that the system does not report it; then only BLIND_BYTES_MAX are kept.
   */
  noteUnread(unreadBytes: number | undefined): void {
    this.#isBlind = unreadBytes === undefined;
    if (unreadBytes === undefined) this.#sent.bound(BLIND_BYTES_MAX);
    else this.#sent.trim(unreadBytes);
    this.#readingDueAtBytes = this.#sent.bytes + READING_BYTES;
    if (!this.#isBlocked) this.#flush();
  }

  /** Sends nothing again: the tracker has read everything, or the stream is forgotten. Returns the number of frames. */
  clearRedelivery(): number {
    const cleared = this.redelivery();
    this.#sent.clear();
    const kept = this.#entries.slice(this.#head).filter((e) => e.kind !== "redelivery");
    if (this.#entries[this.#head]?.kind === "redelivery") this.#headAccepted = 0;
    this.#entries.splice(0, this.#entries.length, ...kept);
    this.#head = 0;
    return cleared.reduce((sum, { frames }) => sum + frames, 0);
  }

  /** Sends nothing again, because every run that is sent it dies. Counts the frames and returns their number. */
  abandon(): number {
    const frames = this.clearRedelivery();
    this.framesAbandoned += frames;
    return frames;
  }

  /** Notes that the tracker's socket has closed. A socket older than the current one is ignored. */
  disconnect(sink: Sink): void {
    if (this.#sink !== sink) return;
    this.#sink = undefined;
    this.#wake();
  }

  /** Notes that the socket accepts more. */
  drained(sink: Sink): void {
    if (this.#sink !== sink) return;
    this.#isBlocked = false;
    this.#flush();
  }

  /** Resolves when nothing waits. */
  whenIdle(): Promise<void> {
    if (this.#head === this.#entries.length) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #push(entry: Entry): void {
    this.#entries.push(entry);
    this.#newEntries++;
    this.#newFrames += entry.frames;
    this.#newBytes += entry.bytes.length;
    if (!this.#isBlocked) this.#flush();
  }

  #flush(): void {
    const sink = this.#sink;
    if (sink === undefined) return;
    while (this.#head < this.#entries.length) {
      // What cannot be kept for the next run is not sent to this one yet.
      if (this.#sent.isFull) {
        this.onReadingDue();
        break;
      }
      const entry = this.#entries[this.#head]!;
      const rest =
        this.#headAccepted === 0 ? entry.bytes : entry.bytes.subarray(this.#headAccepted);
      const accepted = rest.length === 0 ? 0 : sink.write(rest);
      if (accepted < rest.length) {
        this.#headAccepted += Math.max(0, accepted);
        this.#bytesAccepted += Math.max(0, accepted);
        this.#isBlocked = true;
        break;
      }
      this.#bytesAccepted += accepted;
      this.#shift(entry);
      this.#sent.add(entry.bytes, entry.frames);
      if (this.#isBlind) this.#sent.bound(BLIND_BYTES_MAX);
      if (entry.kind === "redelivery") {
        this.framesRedelivered += entry.frames;
        continue;
      }
      this.framesAccepted += entry.frames;
      entry.onAccepted();
    }
    this.#compact();
    if (this.#sent.bytes >= this.#readingDueAtBytes) {
      this.#readingDueAtBytes += READING_BYTES;
      this.onReadingDue();
    }
    if (!this.isFull) this.#wake();
  }

  #shift(entry: Entry): void {
    this.#head++;
    this.#headAccepted = 0;
    if (entry.kind !== "redelivery") this.#uncount(entry);
  }

  #uncount({ frames, bytes }: Entry): void {
    this.#newEntries--;
    this.#newFrames -= frames;
    this.#newBytes -= bytes.length;
  }

  /** Returns false when there is nothing to drop. */
  #dropOldest(): boolean {
    const at = this.#entries.findIndex((e, i) => i >= this.#head && e.kind === "droppable");
    if (at < 0) return false;
    const [entry] = this.#entries.splice(at, 1);
    if (at === this.#head) this.#headAccepted = 0;
    this.#uncount(entry!);
    this.dropped.tracker_down += entry!.frames;
    return true;
  }

  /** Removes handled entries, and with them the chunks they lie in: at once when nothing waits, else when they are the larger half. */
  #compact(): void {
    if (this.#head === this.#entries.length) {
      this.#entries.length = 0;
      this.#head = 0;
      for (const resolve of this.#idleWaiters.splice(0)) resolve();
    } else if (this.#head >= COMPACT_MIN && this.#head * 2 >= this.#entries.length) {
      this.#entries.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #wake(): void {
    if (this.#roomWaiters.size === 0) return;
    const resumes = [...this.#roomWaiters];
    this.#roomWaiters.clear();
    for (const resume of resumes) resume();
  }
}
