/**
 * Moves the frames of a spool from memory to its files and keeps the manifest up to date. When the disk refuses a write, frames
 * stay in memory and the writer tries again every second until the disk accepts all of them; both changes are logged once.
 * It is the one place that knows the spool's id and which numbers are reserved. Used by DiskSpool and SpoolEviction. (A16)
 *
 *   on → failing (a write was refused);  failing → on (everything in memory was written)
 */
import type { Clock, Log } from "@fleet/daemon";
import type { SpoolId } from "@fleet/protocol";
import type { FrameBuffer } from "./frame-buffer.ts";
import type { SpoolCounts } from "./spool-counts.ts";
import type { SpoolFiles } from "./spool-files.ts";
import type { Manifest, ManifestFile } from "./spool-manifest.ts";
import { newSpoolId } from "./spool.ts";

const FULL_CODES: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);
const RETRY_MS = 1000;
/** How often a changed manifest is written, and how soon written frames are synced. */
const SYNC_MS = 1000;
const BATCH_FRAME_BYTES_MAX = 256 * 1024;
/** A kill wastes at most this many of the 2^53 numbers; each reservation waits for the disk. */
const RESERVED_AHEAD = 2 ** 24;

type State =
  | { readonly at: "on" }
  | { readonly at: "failing"; readonly retryAtMs: number; readonly isFull: boolean };

/** The parts that the writer works on. */
export interface SpoolWriterOptions {
  readonly files: SpoolFiles;
  readonly manifestFile: ManifestFile;
  readonly spoolId: SpoolId;
  /** Frames that are not written yet. */
  readonly buffer: FrameBuffer;
  readonly counts: SpoolCounts;
  readonly clock: Clock;
  readonly log: Log;
}

/** The disk side of one spool. No method throws: what the disk refuses is retried. */
export class SpoolWriter {
  readonly #options: SpoolWriterOptions;
  #state: State = { at: "on" };
  #spoolId: SpoolId;
  /** Numbers below are reserved on disk. Infinite while the current id is not on disk. */
  #limitSeq: number;
  /** Frames below are written, acknowledged or dropped. */
  #settled: number;
  #isChanged = false;
  #manifestMs = 0;
  #syncedMs = 0;

  constructor(options: SpoolWriterOptions) {
    this.#options = options;
    this.#spoolId = options.spoolId;
    this.#limitSeq = options.buffer.nextSeq;
    this.#settled = options.buffer.nextSeq;
    this.reserve();
  }

  get spoolId(): SpoolId {
    return this.#spoolId;
  }

  /** A frame may only get a number below this one; call `reserve` first otherwise. */
  get limitSeq(): number {
    return this.#limitSeq;
  }

  get files(): SpoolFiles {
    return this.#options.files;
  }

  get isOn(): boolean {
    return this.#state.at === "on";
  }

  /** The disk refuses writes because it is full, so that removing a file makes room. */
  get isFull(): boolean {
    return this.#state.at === "failing" && this.#state.isFull;
  }

  /** Whether the next tick has anything to do. */
  get hasWork(): boolean {
    return !this.isOn || this.#isChanged || this.files.isUnsynced;
  }

  /** Counts or frames have changed: the manifest will be written within a second. */
  changed(): void {
    this.#isChanged = true;
  }

  /** The oldest frames in memory were dropped: the next batch must not record them as acknowledged. */
  skipDropped(): void {
    this.#settled = this.#options.buffer.firstSeq;
    this.#isChanged = true;
  }

  /** Writes the manifest now. */
  save(): void {
    this.#attempt(() => this.#saveManifest());
  }

  /** Continues under an id that the coordinator can't know. */
  renewId(): void {
    this.#spoolId = newSpoolId();
    this.reserve();
  }

  /** Records the next numbers as used, synced, so that frames may get them even if the power fails. */
  reserve(): void {
    this.#attempt(() => this.#reserve());
  }

  /** Writes the frames below `beforeSeq`. After a refusal, retries with all frames once the delay is over. */
  write(beforeSeq: number): void {
    if (this.isOn) this.#attempt(() => this.#writeFrames(beforeSeq));
    else if (this.#mayTry()) this.retry();
  }

  /** Tries again after a refusal: writes every frame in memory. */
  retry(): void {
    this.#attempt(() => {
      const { buffer, log } = this.#options;
      if (this.#limitSeq === Number.POSITIVE_INFINITY) this.#reserve();
      this.#writeFrames(buffer.nextSeq);
      this.#state = { at: "on" };
      log.info({}, "the spool is written to disk again");
    });
  }

  /** Writes the manifest and syncs the files when that is due. */
  tick(nowMs: number): void {
    if (!this.#mayTry()) return;
    if (this.#isChanged && nowMs - this.#manifestMs >= SYNC_MS) this.save();
    if (!this.files.isUnsynced || nowMs - this.#syncedMs < SYNC_MS) return;
    this.#syncedMs = nowMs;
    this.files.sync((error) => {
      if (error !== null) this.#failed(error);
    });
  }

  /** Removes the files without wanted frames. */
  removeDone(): void {
    if (!this.files.hasDone) return;
    // Before a frame is gone, the manifest must record its fate.
    this.save();
    this.files.removeDone();
  }

  /** Writes everything that is left, and releases the numbers that were reserved and not used. */
  close(): void {
    const { files, manifestFile, buffer } = this.#options;
    this.#attempt(() => {
      this.#writeFrames(buffer.nextSeq);
      this.#writeManifest(buffer.nextSeq, true);
    });
    files.close();
    manifestFile.close();
  }

  #mayTry(): boolean {
    const state = this.#state;
    return state.at === "on" || this.#options.clock.monotonicMs() >= state.retryAtMs;
  }

  /** Writes all frames below `beforeSeq`, and those that share a batch with them. Throws system errors. */
  #writeFrames(beforeSeq: number): void {
    const { files, buffer, counts, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    while (buffer.firstSeq < beforeSeq) {
      const { firstSeq, lastSeq, bytes } = buffer.read(buffer.firstSeq, BATCH_FRAME_BYTES_MAX)!;
      const framesBefore = counts.numbered - buffer.frames;
      const frames = lastSeq - firstSeq + 1;
      files.write({ firstSeq, frames, ackedFrom: this.#settled, framesBefore, bytes }, nowMs);
      this.#settled = lastSeq + 1;
      buffer.release(lastSeq);
    }
  }

  #reserve(): void {
    const { nextSeq } = this.#options.buffer;
    const limitSeq = nextSeq + RESERVED_AHEAD;
    try {
      this.#writeManifest(limitSeq, true);
      this.#limitSeq = limitSeq;
    } catch (error) {
      // The next run would use these numbers again. Under an id that is not on disk they can't be confused.
      if (nextSeq >= this.#limitSeq) {
        this.#spoolId = newSpoolId();
        this.#limitSeq = Number.POSITIVE_INFINITY;
      }
      throw error;
    }
  }

  #saveManifest(): void {
    if (this.#limitSeq === Number.POSITIVE_INFINITY) this.#reserve();
    else this.#writeManifest(this.#limitSeq, false);
  }

  #writeManifest(reserved: number, isSynced: boolean): void {
    const { files, manifestFile, buffer, counts, clock } = this.#options;
    const manifest: Manifest = {
      ...counts.saved(buffer.frames),
      spoolId: this.#spoolId,
      reserved,
      firstSeq: files.firstSeq ?? buffer.firstSeq,
      settled: buffer.firstSeq,
    };
    manifestFile.write(manifest, isSynced);
    this.#isChanged = false;
    this.#manifestMs = clock.monotonicMs();
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(err: unknown): void {
    const { clock, log } = this.#options;
    const wasOn = this.isOn;
    this.#state = {
      at: "failing",
      retryAtMs: clock.monotonicMs() + RETRY_MS,
      isFull: FULL_CODES.has((err as NodeJS.ErrnoException).code ?? ""),
    };
    if (wasOn)
      log.error({ err }, "the spool can't be written to disk: new frames are in memory only");
  }
}
