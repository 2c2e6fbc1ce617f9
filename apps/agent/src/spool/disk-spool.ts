/**
 * The spool of a sensor: the youngest frames in memory, those that wait longer in files of the state directory. Without a
 * directory, or while it can't be written, all in memory.
 *
 * A batch is what has waited for 100 to 200 ms without an ack, or at once all when 8 MiB (a quarter of the bounds, when that
 * is less) have gathered. Written, it survives a kill -9 of the agent; within a further second, a power loss. What is
 * acknowledged sooner is never written, so a healthy uplink costs the disk next to nothing.
 *
 * Numbers are reserved ahead; after a kill the next run goes on above them all. Frames that were neither written nor
 * acknowledged when the agent was killed are in no count: one counts as appended for good from its batch on, or its ack.
 * Conservation, appended = acked + held + Σ dropped, holds at any time and across any end. Made by SensorPipeline. (A16)
 */
import { type Clock, type Log, LogLimiter, type Timer } from "@fleet/daemon";
import type { SpoolId } from "@fleet/protocol";
import { MemorySpool } from "./memory-spool.ts";
import { SpoolCounts } from "./spool-counts.ts";
import type { Books } from "./spool-manifest.ts";
import { SpoolDir } from "./spool-dir.ts";
import { SpoolWriter } from "./spool-writer.ts";
import type { Extent } from "./spool-files.ts";
import type { SpoolBounds } from "./spool-size.ts";
import { newSpoolId, type Spool, type SpoolChunk, type SpoolStats } from "./spool.ts";

/** How a spool is set up. */
export interface DiskSpoolOptions extends SpoolBounds {
  /** Undefined: memory only. It is made when it is missing. */
  readonly dir: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

const TICK_MS = 100;
const TAIL_BYTES_MAX = 8 * 1024 * 1024;
/** Of frames that are gone, for a replay. */
const KEEP_BYTES_MAX = 1024 * 1024;
const BATCH_FRAME_BYTES_MAX = 256 * 1024;
/** What still comes when a sensor's output is not read on: the chunk at hand, and at its end what its pipe holds. */
const BLOCK_SLACK_BYTES = 4 * 1024 * 1024;
/** Parts of `ageMaxMs` that are told apart. */
const AGE_PARTS = 8;

/** See the head of this file. */
export class DiskSpool implements Spool {
  readonly #options: DiskSpoolOptions;
  readonly #bytesMax: number;
  readonly #tailBytesMax: number;
  readonly #counts = new SpoolCounts();
  readonly #complaints: LogLimiter;
  readonly #disk: SpoolWriter | undefined;
  #memoryId: SpoolId = newSpoolId();
  /** Frames that are not written. */
  readonly #tail: MemorySpool;
  #firstSeq: number;
  #numbered = 0;
  /** Frames that got no number, since the spool was full. */
  #refused = 0;
  /** Frames below are written, acknowledged or dropped. */
  #settled: number;
  /** Numbers an earlier run may have used above all that it wrote. The next session says how many of them arrived. */
  #unknown: { readonly from: number; readonly to: number } | undefined;
  /** Frames below were there at the last tick. */
  #dueSeq = 0;
  readonly #ages: { readonly seq: number; readonly atMs: number }[] = [];
  #timer: Timer | undefined;
  #isClosed = false;
  #room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #isBlocking = true;
  #listener: () => void = () => {};

  constructor(options: DiskSpoolOptions) {
    const { dir, bytesMax, memoryBytesMax, clock, log, ageMaxMs } = options;
    this.#options = options;
    this.#complaints = new LogLimiter(clock);
    this.#tailBytesMax = Math.min(TAIL_BYTES_MAX, memoryBytesMax / 4, bytesMax / 4);
    const ageMs = (ageMaxMs ?? Number.POSITIVE_INFINITY) / AGE_PARTS;
    const opened =
      dir === undefined ? undefined : SpoolDir.open({ dir, bytesMax, ageMs, clock, log });
    this.#bytesMax = opened === undefined ? Math.min(bytesMax, memoryBytesMax) : bytesMax;
    const nextSeq = opened?.manifest.reserved ?? 1;
    this.#tail = new MemorySpool({
      spoolId: this.#memoryId,
      bytesMax: Number.POSITIVE_INFINITY,
      firstSeq: nextSeq,
      keepBytesMax: Math.min(KEEP_BYTES_MAX, memoryBytesMax / 16),
    });
    this.#firstSeq = opened?.firstSeq ?? nextSeq;
    this.#settled = nextSeq;
    if (opened === undefined) return;
    const { manifest } = opened;
    this.#unknown = opened.unknown;
    this.#numbered = manifest.numbered;
    this.#refused = manifest.refused;
    this.#counts.acked = manifest.acked;
    for (const [reason, frames] of Object.entries(manifest.dropped))
      this.#counts.drop(reason, frames);
    this.#disk = new SpoolWriter({
      dir: opened.dir,
      spoolId: manifest.spoolId,
      nextSeq: () => this.nextSeq,
      manifest: () => this.#manifest(),
      writeBelow: (seq) => this.#writeBelow(seq),
      clock,
      log,
    });
    this.#bound();
    this.#disk.removeDone();
    if (opened.held > 0) this.#arm();
  }

  get spoolId(): SpoolId {
    return this.#disk?.spoolId ?? this.#memoryId;
  }

  get firstSeq(): number {
    return Math.min(this.#firstSeq, this.#unknown?.from ?? Number.POSITIVE_INFINITY);
  }

  get nextSeq(): number {
    return this.#tail.nextSeq;
  }

  get held(): number {
    return (this.#disk?.files.framesFrom(this.#firstSeq) ?? 0) + this.#tail.held;
  }

  /** Not in memory alone. */
  get isOnDisk(): boolean {
    return this.#disk?.isOn === true;
  }

  onAppend(listener: () => void): void {
    this.#listener = listener;
  }

  append(bytes: Uint8Array, start: number, end: number): void {
    const tail = this.#tail;
    if (this.#options.onFull !== "drop_oldest" && this.#refuses(end - start + 1)) {
      this.#refused++;
      this.#disk?.changed();
      return;
    }
    if (this.#disk !== undefined && tail.nextSeq >= this.#disk.limitSeq) this.#disk.reserve();
    tail.append(bytes, start, end);
    this.#numbered++;
    if (tail.heldBytes > this.#tailBytesMax) this.#overflow();
    if (this.#timer === undefined) this.#arm();
    this.#listener();
  }

  read(fromSeq: number, bytesMax: number): SpoolChunk | undefined {
    for (;;) {
      const from = Math.max(fromSeq, this.#firstSeq);
      const extent = this.#disk?.files.extentFrom(from);
      if (extent === undefined || this.#disk === undefined) return this.#tail.read(from, bytesMax);
      const read = this.#disk.reader.read(extent, Math.max(from, extent.firstSeq), bytesMax);
      if (read.at === "frames") return read;
      const first = Math.max(read.firstSeq, this.#firstSeq);
      this.#counts.release(first, read.lastSeq, "damaged");
      this.#disk.files.cut(extent, read, read.nextAt);
      this.#moveFirst();
      this.#complain(
        "damaged",
        { frames: read.lastSeq - first + 1, path: extent.file.path },
        "frames in the spool are damaged; dropped",
      );
    }
  }

  /** Frames that are gone, nearly all of them acknowledged: as `read`, of the youngest 1 MiB of this run. For a replay. */
  readGone(fromSeq: number, bytesMax: number): SpoolChunk | undefined {
    return this.#tail.readKept(fromSeq, this.#firstSeq, bytesMax);
  }

  ack(seq: number): void {
    const last = Math.min(seq, this.nextSeq - 1);
    if (last < this.#firstSeq) return;
    this.#releaseWritten(last);
    this.#counts.release(
      Math.max(this.#tail.firstSeq, this.#firstSeq),
      Math.min(last, this.nextSeq - 1),
    );
    this.#tail.ack(last);
    this.#moveFirst();
    this.#disk?.changed();
    this.#disk?.removeDone();
    this.#giveRoom();
  }

  reject(seq: number, code: string): void {
    if (seq < this.#firstSeq || seq >= this.nextSeq || !this.#holds(seq)) return;
    this.#counts.reject(seq, code);
  }

  stats(): SpoolStats {
    const dropped = this.#counts.droppedByReason();
    if (this.#refused > 0) dropped["spool_full"] = (dropped["spool_full"] ?? 0) + this.#refused;
    return {
      appended: this.#numbered + this.#refused,
      acked: this.#counts.acked,
      held: this.held - this.#counts.rejected,
      heldBytes: this.#heldBytes,
      dropped,
    };
  }

  resume(acked: number): boolean {
    this.#resolveUnknown(acked);
    if (acked < this.nextSeq) return true;
    this.#memoryId = newSpoolId();
    this.#disk?.renew();
    this.#options.log.warn({}, "the coordinator is ahead of this spool: it goes on under a new id");
    return false;
  }

  /** With `block`: settles when there is room again; undefined when there is some. */
  room(): Promise<void> | undefined {
    if (this.#options.onFull !== "block" || !this.#isBlocking || !this.#isFull(0)) return undefined;
    this.#room ??= Promise.withResolvers<void>();
    return this.#room.promise;
  }

  /** Not while the sensor is being ended: what it still writes is taken then, as far as the slack goes. */
  setBlocking(isBlocking: boolean): void {
    this.#isBlocking = isBlocking;
    this.#giveRoom();
  }

  /** Writes everything, and the books. Nothing is to be called after it. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.setBlocking(false);
    this.#disk?.close();
  }

  get #heldBytes(): number {
    return (this.#disk?.files.bytes ?? 0) + this.#tail.heldBytes;
  }

  #isFull(more: number): boolean {
    if (this.#heldBytes + more > this.#bytesMax) return true;
    return !this.isOnDisk && this.#tail.heldBytes + more > this.#options.memoryBytesMax;
  }

  #refuses(length: number): boolean {
    const slack = this.#options.onFull === "block" ? BLOCK_SLACK_BYTES : 0;
    return this.#isFull(length - slack);
  }

  #holds(seq: number): boolean {
    if (seq >= this.#tail.firstSeq) return true;
    const extent = this.#disk?.files.extentFrom(seq);
    return extent !== undefined && extent.firstSeq <= seq;
  }

  /** Above what memory should hold: writes it, and keeps the bounds. */
  #overflow(): void {
    this.#disk?.write(this.nextSeq);
    this.#bound();
  }

  /** Drops the oldest frames until the bounds hold. */
  #bound(): void {
    if (this.#options.onFull !== "drop_oldest") return;
    while (this.#heldBytes > this.#bytesMax && this.#dropOldestFile("spool_full"));
    const { memoryBytesMax } = this.#options;
    const tailMax = this.isOnDisk ? this.#bytesMax : Math.min(memoryBytesMax, this.#bytesMax);
    // What makes room on a full disk is giving up the oldest of what is there.
    const isFull = this.#disk?.isFull === true && this.#tail.heldBytes > tailMax;
    if (isFull && this.#dropOldestFile("spool_full")) this.#disk?.retry();
    if (this.isOnDisk) return;
    while (this.#tail.heldBytes > tailMax && this.#tail.held > 1)
      this.#dropTail(this.#tail.firstSeq, "spool_full");
  }

  #dropOldestFile(reason: string): boolean {
    const files = this.#disk?.files;
    if (files?.oldest === undefined) return false;
    for (const extent of files.dropOldest()) this.#releaseExtent(extent, extent.lastSeq, reason);
    this.#moveFirst();
    this.#disk?.changed();
    this.#disk?.removeDone();
    return true;
  }

  #dropTail(lastSeq: number, reason: string): void {
    this.#counts.release(this.#tail.firstSeq, lastSeq, reason);
    this.#tail.ack(lastSeq);
    // They must not be taken for acknowledged.
    this.#settled = this.#tail.firstSeq;
    this.#disk?.changed();
    this.#moveFirst();
  }

  #releaseWritten(seq: number): void {
    const files = this.#disk?.files;
    if (files === undefined) return;
    for (const extent of files.extents) {
      if (extent.firstSeq > seq) break;
      this.#releaseExtent(extent, seq, undefined);
    }
    files.release(seq);
    if (files.extents.length === 0) this.#disk?.reader.close();
  }

  #releaseExtent({ firstSeq, lastSeq }: Extent, seq: number, reason: string | undefined): void {
    this.#counts.release(Math.max(firstSeq, this.#firstSeq), Math.min(lastSeq, seq), reason);
    this.#firstSeq = Math.max(this.#firstSeq, Math.min(lastSeq, seq) + 1);
  }

  #moveFirst(): void {
    const oldest = this.#disk?.files.extents[0]?.firstSeq ?? this.#tail.firstSeq;
    this.#firstSeq = Math.max(this.#firstSeq, oldest);
  }

  /** An earlier run was killed: the frames above what it wrote that the coordinator has were real. */
  #resolveUnknown(acked: number): void {
    if (this.#unknown === undefined) return;
    const { from, to } = this.#unknown;
    this.#unknown = undefined;
    const frames = Math.max(0, Math.min(acked, to) - from + 1);
    this.#numbered += frames;
    this.#counts.acked += frames;
    // After another kill nobody could say it again.
    this.#disk?.save();
  }

  #giveRoom(): void {
    if (this.#room === undefined || (this.#isBlocking && this.#isFull(0))) return;
    const { resolve } = this.#room;
    this.#room = undefined;
    resolve();
  }

  #arm(): void {
    const { clock, ageMaxMs } = this.#options;
    if (this.#isClosed || (this.#disk === undefined && ageMaxMs === undefined)) return;
    this.#timer = clock.after(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    this.#timer = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    const dueSeq = this.#dueSeq;
    this.#dueSeq = this.nextSeq;
    this.#dropOld(nowMs);
    if (this.#tail.firstSeq < dueSeq || !this.isOnDisk) this.#disk?.write(dueSeq);
    this.#disk?.tick(nowMs);
    this.#bound();
    this.#giveRoom();
    const hasWork = this.#tail.held > 0 || this.#disk?.hasWork === true;
    if (hasWork || (this.#options.ageMaxMs !== undefined && this.held > 0)) this.#arm();
  }

  #dropOld(nowMs: number): void {
    const { ageMaxMs } = this.#options;
    if (ageMaxMs === undefined) return;
    const dueMs = nowMs - ageMaxMs;
    while ((this.#disk?.files.oldest?.writtenMs ?? nowMs) <= dueMs) this.#dropOldestFile("too_old");
    const last = this.#ages.at(-1);
    if (last === undefined || nowMs - last.atMs >= ageMaxMs / AGE_PARTS)
      this.#ages.push({ seq: this.nextSeq, atMs: nowMs });
    while (this.#ages.length > 0 && this.#ages[0]!.atMs <= dueMs) {
      const { seq } = this.#ages.shift()!;
      if (seq > this.#tail.firstSeq) this.#dropTail(seq - 1, "too_old");
    }
  }

  /** Writes all frames below `beforeSeq`, and what lies in one batch with them. Throws what the disk says. */
  #writeBelow(beforeSeq: number): void {
    const { files } = this.#disk!;
    const tail = this.#tail;
    const nowMs = this.#options.clock.monotonicMs();
    while (tail.firstSeq < beforeSeq) {
      const { firstSeq, lastSeq, bytes } = tail.read(tail.firstSeq, BATCH_FRAME_BYTES_MAX)!;
      const framesBefore = this.#numbered - tail.held;
      const frames = lastSeq - firstSeq + 1;
      files.write({ firstSeq, frames, ackedFrom: this.#settled, framesBefore, bytes }, nowMs);
      this.#settled = lastSeq + 1;
      tail.ack(lastSeq);
    }
  }

  #manifest(): Omit<Books, "spoolId" | "reserved"> {
    return {
      firstSeq: this.#firstSeq,
      settled: this.#tail.firstSeq,
      numbered: this.#numbered - this.#tail.held,
      acked: this.#counts.acked,
      dropped: Object.fromEntries(this.#counts.dropped),
      refused: this.#refused,
    };
  }

  #complain(key: string, fields: Record<string, unknown>, message: string): void {
    const held = this.#complaints.pass(key);
    if (held !== undefined) this.#options.log.warn({ ...fields, held_back: held }, message);
  }
}
