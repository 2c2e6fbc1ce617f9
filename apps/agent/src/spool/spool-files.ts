/**
 * The files of one sensor's spool: batches (spool-batch.ts) are appended to the youngest, and a file is removed whole when none
 * of its frames is wanted any more. In memory there is one entry for each unbroken run of numbers, not for each frame or batch.
 * What lies there and is none of ours stays untouched. Used by DiskSpool. (A16)
 */
import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsync,
  ftruncateSync,
  openSync,
  readdirSync,
  unlinkSync,
  writevSync,
} from "node:fs";
import { join } from "node:path";
import { BATCH_HEADER_BYTES, encodeBatchHeader } from "./spool-batch.ts";

const FILE_MODE = 0o600;
/** What an almost empty file takes of a disk. */
const FILE_BYTES_MIN = 4096;
const NAME = /^\d{16}-[0-9a-f]{8}\.frames$/;
const { O_RDWR, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;

/** One file. Times are monotonic ms. */
export interface SpoolFile {
  readonly path: string;
  bytes: number;
  readonly bornMs: number;
  /** When the last batch was written. */
  writtenMs: number;
}

/** Frames `firstSeq … lastSeq`, without a gap, in the batches of `file` from offset `at` to `end`. */
export interface Extent {
  readonly file: SpoolFile;
  readonly at: number;
  end: number;
  readonly firstSeq: number;
  lastSeq: number;
}

/** Numbers from `firstSeq` to `lastSeq`. */
export interface SeqRange {
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Frames to be written together; see BatchHeader. */
export interface Batch {
  readonly firstSeq: number;
  readonly frames: number;
  readonly ackedFrom: number;
  readonly framesBefore: number;
  readonly bytes: Uint8Array;
}

/** See the head of this file. What the system refuses is thrown as it says it. */
export class SpoolFiles {
  /** Oldest first. */
  readonly extents: Extent[] = [];
  readonly #dir: string;
  readonly #fileBytesMax: number;
  readonly #fileAgeMaxMs: number;
  /** Oldest first; the last one is `#current` when there is one. */
  readonly #files: SpoolFile[] = [];
  #current: { readonly file: SpoolFile; readonly fd: number } | undefined;
  #bytes = 0;
  /** Descriptors with something that a power loss could take; `done` ones are closed once it can't. */
  readonly #unsynced = new Map<number, "current" | "done">();
  #isSyncing = false;
  #isClosed = false;

  constructor(dir: string, fileBytesMax: number, fileAgeMaxMs: number) {
    this.#dir = dir;
    this.#fileBytesMax = fileBytesMax;
    this.#fileAgeMaxMs = fileAgeMaxMs;
  }

  /** What the files take. */
  get bytes(): number {
    return this.#bytes;
  }

  get isUnsynced(): boolean {
    return this.#unsynced.size > 0;
  }

  get oldest(): SpoolFile | undefined {
    return this.#files[0];
  }

  /** Numbers of frames from `fromSeq` on that are in the files. */
  framesFrom(fromSeq: number): number {
    let frames = 0;
    for (const { firstSeq, lastSeq } of this.extents)
      frames += Math.max(0, lastSeq - Math.max(firstSeq, fromSeq) + 1);
    return frames;
  }

  /** The extent that holds `seq`, or the next one. */
  extentFrom(seq: number): Extent | undefined {
    return this.extents.find(({ lastSeq }) => lastSeq >= seq);
  }

  /** A file of an earlier run with what is wanted of it. */
  adopt(file: SpoolFile, extents: readonly Extent[]): void {
    this.#files.push(file);
    this.#bytes += takenBy(file);
    this.extents.push(...extents);
  }

  /** Appends a batch. When it throws, nothing of it counts. */
  write(batch: Batch, nowMs: number): void {
    const { file, fd } = this.#fileFor(batch, nowMs);
    const before = takenBy(file);
    const header = encodeBatchHeader(batch, batch.bytes);
    const length = header.length + batch.bytes.length;
    try {
      writeFully(fd, header, batch.bytes, file.bytes);
    } catch (error) {
      cutBack(fd, file.bytes);
      throw error;
    }
    const at = file.bytes;
    file.bytes += length;
    file.writtenMs = nowMs;
    this.#bytes += takenBy(file) - before;
    this.#unsynced.set(fd, "current");
    const lastSeq = batch.firstSeq + batch.frames - 1;
    const last = this.extents.at(-1);
    if (last?.file === file && last.lastSeq + 1 === batch.firstSeq) {
      last.lastSeq = lastSeq;
      last.end = file.bytes;
    } else this.extents.push({ file, at, end: file.bytes, firstSeq: batch.firstSeq, lastSeq });
  }

  /** Frames up to `seq` are not wanted any more. */
  release(seq: number): void {
    while (this.extents.length > 0 && this.extents[0]!.lastSeq <= seq) this.extents.shift();
  }

  /** Takes `range`, which lies within `extent`, out. */
  cut(extent: Extent, { firstSeq, lastSeq }: SeqRange, nextAt: number): void {
    const index = this.extents.indexOf(extent);
    const parts: Extent[] = [];
    if (firstSeq > extent.firstSeq) parts.push({ ...extent, lastSeq: firstSeq - 1 });
    if (lastSeq < extent.lastSeq) parts.push({ ...extent, at: nextAt, firstSeq: lastSeq + 1 });
    this.extents.splice(index, 1, ...parts);
  }

  /** Gives up the oldest file. What of it was still wanted, oldest first. */
  dropOldest(): readonly Extent[] {
    const [file] = this.#files;
    const count = this.extents.findIndex((extent) => extent.file !== file);
    const dropped = this.extents.splice(0, count < 0 ? this.extents.length : count);
    if (this.#current?.file === file) this.#closeCurrent();
    return dropped;
  }

  /** Whether there are files that nothing is wanted of. */
  get hasDone(): boolean {
    const [oldest] = this.#files;
    return oldest !== undefined && this.#isDone(oldest);
  }

  /** Removes them. One that can't be removed is forgotten and goes at the next start. */
  removeDone(): void {
    while (this.hasDone) {
      const file = this.#files.shift()!;
      this.#bytes -= takenBy(file);
      try {
        unlinkSync(file.path);
      } catch {
        // It is found again at the next start.
      }
    }
  }

  /** Makes what is written survive a power loss; one at a time. `done` gets what went wrong. */
  sync(done: (error: Error | null) => void): void {
    if (this.#isSyncing) return;
    const due = [...this.#unsynced];
    this.#unsynced.clear();
    this.#isSyncing = true;
    let open = due.length;
    let problem: Error | null = null;
    const one = (error: Error | null): void => {
      problem ??= error;
      if (--open > 0) return;
      this.#isSyncing = false;
      for (const [fd, use] of due) {
        // What was rolled meanwhile is still in the map and is closed by its own turn.
        if (use === "done") closeSync(fd);
      }
      // The end of the spool has synced and closed what was still open, under this one's hands.
      if (!this.#isClosed) done(problem);
    };
    for (const [fd] of due) fdatasync(fd, one);
  }

  get isSyncing(): boolean {
    return this.#isSyncing;
  }

  /** Closes what is open; nothing is to be called after it. */
  close(): void {
    this.#isClosed = true;
    this.#closeCurrent();
    for (const [fd] of this.#unsynced) {
      try {
        fdatasyncSync(fd);
      } catch {
        // Written it is; it may not survive a power loss.
      }
      closeSync(fd);
    }
    this.#unsynced.clear();
  }

  #isDone(file: SpoolFile): boolean {
    return this.#current?.file !== file && this.extents[0]?.file !== file;
  }

  #fileFor(batch: Batch, nowMs: number): { readonly file: SpoolFile; readonly fd: number } {
    const current = this.#current;
    if (
      current !== undefined &&
      current.file.bytes + batch.bytes.length + BATCH_HEADER_BYTES <= this.#fileBytesMax &&
      nowMs - current.file.bornMs < this.#fileAgeMaxMs
    )
      return current;
    this.#closeCurrent();
    const tag = crypto.randomUUID().slice(0, 8);
    const path = join(this.#dir, `${String(batch.firstSeq).padStart(16, "0")}-${tag}.frames`);
    const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE);
    const file = { path, bytes: 0, bornMs: nowMs, writtenMs: nowMs };
    this.#files.push(file);
    this.#bytes += takenBy(file);
    this.#syncDir();
    return (this.#current = { file, fd });
  }

  #closeCurrent(): void {
    if (this.#current === undefined) return;
    const { fd } = this.#current;
    this.#current = undefined;
    // Not before what is in it has reached the disk.
    this.#unsynced.set(fd, "done");
  }

  #syncDir(): void {
    try {
      const fd = openSync(this.#dir, O_RDONLY | O_DIRECTORY);
      fsync(fd, () => closeSync(fd));
    } catch {
      // The file itself will tell.
    }
  }
}

/** The files of a spool in `dir`, oldest first, and how many names are none of ours. */
export function listSpoolFiles(dir: string): {
  readonly names: readonly string[];
  readonly foreign: number;
} {
  const all = readdirSync(dir);
  const names = all.filter((name) => NAME.test(name)).toSorted();
  return { names, foreign: all.length - names.length };
}

/** Opens a file for reading, if it is a plain one. */
export function openSpoolFile(path: string): number {
  const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new Error(`${path} is not a plain file`);
}

function takenBy(file: SpoolFile): number {
  return Math.max(FILE_BYTES_MIN, file.bytes);
}

function writeFully(fd: number, header: Uint8Array, frames: Uint8Array, at: number): void {
  const length = header.length + frames.length;
  let written = writevSync(fd, [header, frames], at);
  while (written < length) {
    const rest =
      written < header.length
        ? [header.subarray(written), frames]
        : [frames.subarray(written - header.length)];
    const more = writevSync(fd, rest, at + written);
    if (more <= 0) throw new Error("the disk takes nothing more");
    written += more;
  }
}

function cutBack(fd: number, bytes: number): void {
  try {
    ftruncateSync(fd, bytes);
  } catch {
    // A batch that is not whole is stepped over.
  }
}
