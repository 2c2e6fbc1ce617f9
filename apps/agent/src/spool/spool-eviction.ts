/**
 * Keeps a spool within its bounds: drops the oldest frames above the size, and frames above the age, and decides whether a new
 * frame is refused. On disk it drops whole files, in memory single frames. Every drop is counted. Used by DiskSpool. (A16)
 */
import type { FrameBuffer } from "./frame-buffer.ts";
import type { SpoolCounts } from "./spool-counts.ts";
import type { SpoolBounds } from "./spool-size.ts";
import type { SpoolWriter } from "./spool-writer.ts";

/** With `block`, output that still arrives while the sensor is not read: the chunk at hand, and at its end the rest of the pipe. */
const BLOCK_SLACK_BYTES = 4 * 1024 * 1024;
/** The age of frames is known to this fraction of `ageMaxMs`. */
const AGE_STEPS = 8;

/** Why a frame was dropped to keep a bound. */
type DropReason = "spool_full" | "too_old";

/** The parts of the spool; `writer` is undefined when there is no directory. */
export interface SpoolEvictionOptions {
  readonly bounds: SpoolBounds;
  readonly buffer: FrameBuffer;
  readonly counts: SpoolCounts;
  readonly writer: SpoolWriter | undefined;
}

/** How precisely ages are known, in ms: no file collects frames for longer. Infinite when frames have no age limit. */
export function ageStepMs({ ageMaxMs }: SpoolBounds): number {
  return (ageMaxMs ?? Number.POSITIVE_INFINITY) / AGE_STEPS;
}

/** The bounds of one spool, and what is done when they are reached. */
export class SpoolEviction {
  readonly #bounds: SpoolBounds;
  readonly #buffer: FrameBuffer;
  readonly #counts: SpoolCounts;
  readonly #writer: SpoolWriter | undefined;
  readonly #bytesMax: number;
  /** Frames in memory below `seq` are at least as old as `atMs` says (monotonic); oldest first. */
  readonly #ages: { readonly seq: number; readonly atMs: number }[] = [];

  constructor({ bounds, buffer, counts, writer }: SpoolEvictionOptions) {
    this.#bounds = bounds;
    this.#buffer = buffer;
    this.#counts = counts;
    this.#writer = writer;
    const { bytesMax, memoryBytesMax } = bounds;
    this.#bytesMax = writer === undefined ? Math.min(bytesMax, memoryBytesMax) : bytesMax;
  }

  /** Bytes held in memory and in files. */
  get heldBytes(): number {
    return (this.#writer?.files.bytes ?? 0) + this.#buffer.bytes;
  }

  /** Whether `moreBytes` do not fit. */
  isFull(moreBytes = 0): boolean {
    if (this.heldBytes + moreBytes > this.#bytesMax) return true;
    return !this.#isOnDisk && this.#buffer.bytes + moreBytes > this.#bounds.memoryBytesMax;
  }

  /** Whether a new frame of `length` bytes must be dropped because older frames are kept instead. */
  refuses(length: number): boolean {
    const { onFull } = this.#bounds;
    if (onFull === "drop_oldest") return false;
    return this.isFull(length - (onFull === "block" ? BLOCK_SLACK_BYTES : 0));
  }

  /** With `drop_oldest`: drops the oldest frames until the bounds hold. */
  enforce(): void {
    if (this.#bounds.onFull !== "drop_oldest") return;
    while (this.heldBytes > this.#bytesMax && this.#dropOldestFile("spool_full"));
    const { memoryBytesMax } = this.#bounds;
    const bufferMax = this.#isOnDisk ? this.#bytesMax : Math.min(memoryBytesMax, this.#bytesMax);
    // On a full disk, giving up the oldest file makes room for what is in memory.
    const isBlocked = this.#writer?.isFull === true && this.#buffer.bytes > bufferMax;
    if (isBlocked && this.#dropOldestFile("spool_full")) this.#writer?.retry();
    if (this.#isOnDisk) return;
    while (this.#buffer.bytes > bufferMax && this.#buffer.frames > 1)
      this.#dropBuffered(this.#buffer.firstSeq, "spool_full");
  }

  /** Drops the frames that are older than the bound. Call it regularly: it also records how old the frames in memory are. */
  dropOld(nowMs: number): void {
    const { ageMaxMs } = this.#bounds;
    if (ageMaxMs === undefined) return;
    const dueMs = nowMs - ageMaxMs;
    while ((this.#writer?.files.oldest?.writtenMs ?? nowMs) <= dueMs)
      this.#dropOldestFile("too_old");
    const last = this.#ages.at(-1);
    if (last === undefined || nowMs - last.atMs >= ageStepMs(this.#bounds))
      this.#ages.push({ seq: this.#buffer.nextSeq, atMs: nowMs });
    while (this.#ages.length > 0 && this.#ages[0]!.atMs <= dueMs) {
      const { seq } = this.#ages.shift()!;
      if (seq > this.#buffer.firstSeq) this.#dropBuffered(seq - 1, "too_old");
    }
  }

  get #isOnDisk(): boolean {
    return this.#writer?.isOn === true;
  }

  /** False when there is no file. */
  #dropOldestFile(reason: DropReason): boolean {
    const writer = this.#writer;
    if (writer?.files.oldest === undefined) return false;
    for (const { firstSeq, lastSeq } of writer.files.dropOldest())
      this.#counts.release(firstSeq, lastSeq, reason);
    writer.changed();
    writer.removeDone();
    return true;
  }

  #dropBuffered(lastSeq: number, reason: DropReason): void {
    this.#counts.release(this.#buffer.firstSeq, lastSeq, reason);
    this.#buffer.release(lastSeq);
    this.#writer?.skipDropped();
  }
}
