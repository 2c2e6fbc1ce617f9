/**
 * The spool of one sensor: the youngest frames are in memory, those that wait longer are in files of the state directory.
 * Without a directory, or while it can't be written, all frames are in memory. Created by SensorPipeline. (A16)
 *
 * A batch is written once its frames have waited for 100 to 200 ms without an ack, or as soon as 8 MiB (or a quarter of the
 * bounds, if that is less) are in memory. A written batch survives a kill -9 of the agent, and within one more second a power
 * loss. Frames that are acknowledged sooner are never written, so a healthy uplink costs the disk next to nothing.
 *
 * Numbers are reserved ahead; after a kill the next run continues above all of them. Frames that were neither written nor
 * acknowledged when the agent was killed are in no count. The balance appended = acked + held + Σ dropped holds at all times.
 */
import { type Clock, type Log, LogLimiter, type Timer } from "@fleet/daemon";
import type { SpoolId } from "@fleet/protocol";
import { FrameBuffer } from "./frame-buffer.ts";
import { imbalance, SpoolCounts } from "./spool-counts.ts";
import { openSpoolDir } from "./spool-dir.ts";
import { ageStepMs, SpoolEviction } from "./spool-eviction.ts";
import { SpoolReader } from "./spool-reader.ts";
import type { SpoolBounds } from "./spool-size.ts";
import { SpoolWriter } from "./spool-writer.ts";
import { newSpoolId, type Spool, type SpoolChunk, type SpoolStats } from "./spool.ts";

/** How a spool is set up. */
export interface DiskSpoolOptions extends SpoolBounds {
  /** Created when missing. Undefined: all frames are in memory. */
  readonly dir: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

const TICK_MS = 100;
/** Memory for frames that wait to be written. */
const BUFFER_BYTES_MAX = 8 * 1024 * 1024;
/** Memory for released frames, for a replay. */
const KEEP_BYTES_MAX = 1024 * 1024;

/** Orders the parts of a spool: buffer, writer, files, eviction and counts. */
export class DiskSpool implements Spool {
  readonly #options: DiskSpoolOptions;
  readonly #complaints: LogLimiter;
  readonly #buffer: FrameBuffer;
  readonly #bufferBytesMax: number;
  readonly #counts: SpoolCounts;
  /** Undefined without a directory. */
  readonly #writer: SpoolWriter | undefined;
  readonly #reader = new SpoolReader();
  readonly #eviction: SpoolEviction;
  /** The id while there is no directory. */
  #memoryId: SpoolId = newSpoolId();
  /** Numbers that a killed run may have used for frames it did not write. The next session tells how many of them arrived. */
  #unknown: { readonly from: number; readonly to: number } | undefined;
  /** Frames below were already there at the last tick. */
  #dueSeq = 0;
  #timer: Timer | undefined;
  #isClosed = false;
  #room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #isBlocking = true;
  #listener: () => void = () => {};

  constructor(options: DiskSpoolOptions) {
    const { dir, bytesMax, memoryBytesMax, clock, log } = options;
    this.#options = options;
    this.#complaints = new LogLimiter(clock);
    this.#bufferBytesMax = Math.min(BUFFER_BYTES_MAX, memoryBytesMax / 4, bytesMax / 4);
    const fileAgeMs = ageStepMs(options);
    const opened = dir === undefined ? undefined : openSpoolDir({ ...options, dir, fileAgeMs });
    const buffer = new FrameBuffer({
      firstSeq: opened?.manifest.reserved ?? 1,
      keepBytesMax: Math.min(KEEP_BYTES_MAX, memoryBytesMax / 16),
    });
    const counts = new SpoolCounts(opened?.manifest);
    this.#buffer = buffer;
    this.#counts = counts;
    if (opened !== undefined) {
      const { files, manifestFile, manifest, unknown } = opened;
      const { spoolId } = manifest;
      this.#unknown = unknown;
      this.#writer = new SpoolWriter({ files, manifestFile, spoolId, buffer, counts, clock, log });
    }
    this.#eviction = new SpoolEviction({ bounds: options, buffer, counts, writer: this.#writer });
    this.#eviction.enforce();
    this.#writer?.removeDone();
    if (this.held > 0) this.#arm();
  }

  get spoolId(): SpoolId {
    return this.#writer?.spoolId ?? this.#memoryId;
  }

  get firstSeq(): number {
    return Math.min(this.#oldestSeq, this.#unknown?.from ?? Number.POSITIVE_INFINITY);
  }

  get nextSeq(): number {
    return this.#buffer.nextSeq;
  }

  get held(): number {
    return (this.#writer?.files.frames ?? 0) + this.#buffer.frames;
  }

  /** Whether frames are written to disk, so that they outlive the agent. */
  get isOnDisk(): boolean {
    return this.#writer?.isOn === true;
  }

  onAppend(listener: () => void): void {
    this.#listener = listener;
  }

  append(bytes: Uint8Array, start: number, end: number): void {
    const buffer = this.#buffer;
    const writer = this.#writer;
    if (this.#eviction.refuses(end - start + 1)) {
      this.#counts.refuse();
      writer?.changed();
      return;
    }
    if (writer !== undefined && buffer.nextSeq >= writer.limitSeq) writer.reserve();
    buffer.append(bytes, start, end);
    this.#counts.append();
    if (buffer.bytes > this.#bufferBytesMax) this.#overflow();
    if (this.#timer === undefined) this.#arm();
    this.#listener();
  }

  read(fromSeq: number, bytesMax: number): SpoolChunk | undefined {
    for (;;) {
      const from = Math.max(fromSeq, this.#oldestSeq);
      const extent = this.#writer?.files.extentFrom(from);
      if (extent === undefined) return this.#buffer.read(from, bytesMax);
      const read = this.#reader.read(extent, Math.max(from, extent.firstSeq), bytesMax);
      if (read.at === "frames") return read;
      const { firstSeq, lastSeq } = this.#writer!.files.cut(extent, read, read.nextAt);
      this.#counts.release(firstSeq, lastSeq, "damaged");
      const fields = { frames: lastSeq - firstSeq + 1, path: extent.file.path };
      this.#complain("damaged", fields, "dropped damaged frames from the spool");
    }
  }

  /** Like `read`, for the youngest 1 MiB of released frames of this run, nearly all of them acknowledged. For a replay. */
  readReleased(fromSeq: number, bytesMax: number): SpoolChunk | undefined {
    return this.#buffer.readReleased(fromSeq, this.#oldestSeq, bytesMax);
  }

  ack(seq: number): void {
    const last = Math.min(seq, this.nextSeq - 1);
    if (last < this.#oldestSeq) return;
    this.#ackFiles(last);
    this.#counts.release(this.#buffer.firstSeq, last);
    this.#buffer.release(last);
    this.#writer?.changed();
    this.#writer?.removeDone();
    this.#offerRoom();
  }

  reject(seq: number, code: string): void {
    if (seq < this.#oldestSeq || seq >= this.nextSeq) return;
    const isHeld = seq >= this.#buffer.firstSeq || this.#writer?.files.holds(seq) === true;
    if (isHeld) this.#counts.reject(seq, code);
  }

  stats(): SpoolStats {
    const stats = this.#counts.stats(this.held, this.#eviction.heldBytes);
    if (imbalance(stats) !== 0)
      this.#complain("imbalance", { ...stats }, "bug: the spool's counts do not add up");
    return stats;
  }

  resume(acked: number): boolean {
    this.#countUnknown(acked);
    if (acked < this.nextSeq) return true;
    this.#memoryId = newSpoolId();
    this.#writer?.renewId();
    const message =
      "the coordinator has frames this spool never numbered: continuing under a new spool id";
    this.#options.log.warn({ acked }, message);
    return false;
  }

  room(): Promise<void> | undefined {
    if (this.#options.onFull !== "block" || !this.#isBlocking || !this.#eviction.isFull())
      return undefined;
    this.#room ??= Promise.withResolvers<void>();
    return this.#room.promise;
  }

  /** Whether a full spool makes the sensor wait. Turn it off while the sensor is stopping, so that its last output is taken. */
  setBlocking(isBlocking: boolean): void {
    this.#isBlocking = isBlocking;
    this.#offerRoom();
  }

  /** Writes all frames and the manifest. No method may be called afterwards. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.setBlocking(false);
    this.#reader.close();
    this.#writer?.close();
  }

  /** The number of the oldest frame held, or the next number when there is none. */
  get #oldestSeq(): number {
    return this.#writer?.files.firstSeq ?? this.#buffer.firstSeq;
  }

  /** Too much is in memory: writes all of it, then enforces the bounds. */
  #overflow(): void {
    this.#writer?.write(this.nextSeq);
    this.#eviction.enforce();
  }

  #ackFiles(seq: number): void {
    const files = this.#writer?.files;
    if (files?.firstSeq === undefined) return;
    for (const { firstSeq, lastSeq } of files.release(seq)) this.#counts.release(firstSeq, lastSeq);
    if (files.firstSeq === undefined) this.#reader.close();
  }

  /** After a kill, only the coordinator knows which of the unwritten frames existed: those it has. */
  #countUnknown(acked: number): void {
    if (this.#unknown === undefined) return;
    const { from, to } = this.#unknown;
    this.#unknown = undefined;
    this.#counts.addAcked(Math.max(0, Math.min(acked, to) - from + 1));
    // Saved at once: after another kill the coordinator's answer would not cover them again.
    this.#writer?.save();
  }

  #offerRoom(): void {
    if (this.#room === undefined || (this.#isBlocking && this.#eviction.isFull())) return;
    const { resolve } = this.#room;
    this.#room = undefined;
    resolve();
  }

  #arm(): void {
    const { clock, ageMaxMs } = this.#options;
    if (this.#isClosed || (this.#writer === undefined && ageMaxMs === undefined)) return;
    this.#timer = clock.after(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    this.#timer = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    const dueSeq = this.#dueSeq;
    this.#dueSeq = this.nextSeq;
    this.#eviction.dropOld(nowMs);
    if (this.#buffer.firstSeq < dueSeq || !this.isOnDisk) this.#writer?.write(dueSeq);
    this.#writer?.tick(nowMs);
    this.#eviction.enforce();
    this.#offerRoom();
    const hasWork = this.#buffer.frames > 0 || this.#writer?.hasWork === true;
    if (hasWork || (this.#options.ageMaxMs !== undefined && this.held > 0)) this.#arm();
  }

  #complain(key: string, fields: Record<string, unknown>, message: string): void {
    const held = this.#complaints.pass(key);
    if (held !== undefined) this.#options.log.warn({ ...fields, held_back: held }, message);
  }
}
