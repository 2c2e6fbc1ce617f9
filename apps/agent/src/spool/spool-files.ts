/**
 * The files of one sensor's spool. Batches (spool-batch.ts) are appended to the youngest file; a file is removed as a whole once
 * none of its frames is wanted. Memory holds one entry per unbroken run of numbers, not per frame or batch. Other files in the
 * directory stay untouched. Used by SpoolWriter, SpoolEviction and DiskSpool. (A16)
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
/** The disk space that an almost empty file takes. */
const FILE_BYTES_MIN = 4096;
const NAME = /^\d{16}-[0-9a-f]{8}\.frames$/;
const { O_RDWR, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;

/** One file. Times are in monotonic ms. */
export interface SpoolFile {
  readonly path: string;
  bytes: number;
  readonly bornMs: number;
  /** The time of the last write. */
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

/** Frames that are written together, each with its LF; the fields are those of BatchHeader. */
export interface Batch {
  readonly firstSeq: number;
  readonly frames: number;
  readonly ackedFrom: number;
  readonly framesBefore: number;
  readonly bytes: Uint8Array;
}

/** The open files of one directory, oldest first, and the runs of wanted frames in them. Methods throw system errors as they are. */
export class SpoolFiles {
  /** Oldest first. Frames of the first one below `firstSeq` are no longer wanted. */
  readonly #extents: Extent[] = [];
  /** Frames below are no longer wanted. */
  #wantedFrom = 1;
  readonly #dir: string;
  readonly #fileBytesMax: number;
  readonly #fileAgeMaxMs: number;
  /** Oldest first; `#current`, if any, is the last one. */
  readonly #files: SpoolFile[] = [];
  #current: { readonly file: SpoolFile; readonly fd: number } | undefined;
  #bytes = 0;
  /** Descriptors with data that a power loss could destroy; those marked `done` are closed after their sync. */
  readonly #unsynced = new Map<number, "current" | "done">();
  #isSyncing = false;
  #isClosed = false;

  constructor(dir: string, fileBytesMax: number, fileAgeMaxMs: number) {
    this.#dir = dir;
    this.#fileBytesMax = fileBytesMax;
    this.#fileAgeMaxMs = fileAgeMaxMs;
  }

  /** Disk space that the files take. */
  get bytes(): number {
    return this.#bytes;
  }

  get isUnsynced(): boolean {
    return this.#unsynced.size > 0;
  }

  get oldest(): SpoolFile | undefined {
    return this.#files[0];
  }

  /** The number of the oldest wanted frame; undefined when there is none. */
  get firstSeq(): number | undefined {
    const first = this.#extents[0];
    return first && Math.max(first.firstSeq, this.#wantedFrom);
  }

  /** How many wanted frames there are. */
  get frames(): number {
    let frames = 0;
    for (const { firstSeq, lastSeq } of this.#extents)
      frames += lastSeq - Math.max(firstSeq, this.#wantedFrom) + 1;
    return frames;
  }

  /** Whether frame `seq` is in a file. */
  holds(seq: number): boolean {
    const extent = this.extentFrom(seq);
    return extent !== undefined && extent.firstSeq <= seq;
  }

  /** The extent that holds `seq`, or the next one. */
  extentFrom(seq: number): Extent | undefined {
    return this.#extents.find(({ lastSeq }) => lastSeq >= seq);
  }

  /** Adds a file of an earlier run with its wanted frames. */
  adopt(file: SpoolFile, extents: readonly Extent[]): void {
    this.#files.push(file);
    this.#bytes += diskBytesOf(file);
    this.#extents.push(...extents);
  }

  /** Appends a batch. When it throws, none of the batch is in the file. */
  write(batch: Batch, nowMs: number): void {
    const { file, fd } = this.#fileFor(batch, nowMs);
    const before = diskBytesOf(file);
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
    this.#bytes += diskBytesOf(file) - before;
    this.#unsynced.set(fd, "current");
    const lastSeq = batch.firstSeq + batch.frames - 1;
    const last = this.#extents.at(-1);
    if (last?.file === file && last.lastSeq + 1 === batch.firstSeq) {
      last.lastSeq = lastSeq;
      last.end = file.bytes;
    } else this.#extents.push({ file, at, end: file.bytes, firstSeq: batch.firstSeq, lastSeq });
  }

  /** Frames up to `seq` are no longer wanted. Returns those of them that were, oldest first. */
  release(seq: number): readonly SeqRange[] {
    const released: SeqRange[] = [];
    for (const { firstSeq, lastSeq } of this.#extents) {
      if (firstSeq > seq) break;
      released.push(this.#wanted({ firstSeq, lastSeq: Math.min(lastSeq, seq) }));
    }
    this.#wantedFrom = Math.max(this.#wantedFrom, seq + 1);
    while (this.#extents.length > 0 && this.#extents[0]!.lastSeq < this.#wantedFrom)
      this.#extents.shift();
    return released;
  }

  /** Removes `range` from `extent`, whose next batch is at offset `nextAt`. Returns the wanted part of the range. */
  cut(extent: Extent, range: SeqRange, nextAt: number): SeqRange {
    const { firstSeq, lastSeq } = range;
    const parts: Extent[] = [];
    const removed = this.#wanted(range);
    if (firstSeq > Math.max(extent.firstSeq, this.#wantedFrom))
      parts.push({ ...extent, lastSeq: firstSeq - 1 });
    if (lastSeq < extent.lastSeq) parts.push({ ...extent, at: nextAt, firstSeq: lastSeq + 1 });
    this.#extents.splice(this.#extents.indexOf(extent), 1, ...parts);
    return removed;
  }

  /** Gives up the oldest file. Returns its frames that were still wanted, oldest first. */
  dropOldest(): readonly SeqRange[] {
    const [file] = this.#files;
    const count = this.#extents.findIndex((extent) => extent.file !== file);
    const dropped = this.#extents.splice(0, count < 0 ? this.#extents.length : count);
    if (this.#current?.file === file) this.#closeCurrent();
    return dropped.map((extent) => this.#wanted(extent));
  }

  /** Whether there are files without wanted frames. */
  get hasDone(): boolean {
    const [oldest] = this.#files;
    return oldest !== undefined && this.#isDone(oldest);
  }

  /** Removes the files without wanted frames. A file that can't be removed is forgotten; the next start finds and removes it. */
  removeDone(): void {
    while (this.hasDone) {
      const file = this.#files.shift()!;
      this.#bytes -= diskBytesOf(file);
      try {
        unlinkSync(file.path);
      } catch {
        // The next start finds it again.
      }
    }
  }

  /** Syncs what is written, so that it survives a power loss; does nothing while a sync is running. `done` gets the error, if any. */
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
        // A file that was finished in the meantime is still in the map and is closed after its own sync.
        if (use === "done") closeSync(fd);
      }
      // `close` has already synced and closed everything that was still open.
      if (!this.#isClosed) done(problem);
    };
    for (const [fd] of due) fdatasync(fd, one);
  }

  /** Syncs and closes everything. No method may be called afterwards. */
  close(): void {
    this.#isClosed = true;
    this.#closeCurrent();
    for (const [fd] of this.#unsynced) {
      try {
        fdatasyncSync(fd);
      } catch {
        // It is written, though it may not survive a power loss.
      }
      closeSync(fd);
    }
    this.#unsynced.clear();
  }

  #isDone(file: SpoolFile): boolean {
    return this.#current?.file !== file && this.#extents[0]?.file !== file;
  }

  #wanted({ firstSeq, lastSeq }: SeqRange): SeqRange {
    return { firstSeq: Math.max(firstSeq, this.#wantedFrom), lastSeq };
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
    this.#bytes += diskBytesOf(file);
    this.#syncDir();
    return (this.#current = { file, fd });
  }

  #closeCurrent(): void {
    if (this.#current === undefined) return;
    const { fd } = this.#current;
    this.#current = undefined;
    // It is closed once its data has reached the disk.
    this.#unsynced.set(fd, "done");
  }

  #syncDir(): void {
    try {
      const fd = openSync(this.#dir, O_RDONLY | O_DIRECTORY);
      fsync(fd, () => closeSync(fd));
    } catch {
      // If the directory is unusable, writing the file fails as well and is reported.
    }
  }
}

/** The names of the spool files in `dir`, oldest first, and the number of other names in it. */
export function listSpoolFiles(dir: string): {
  readonly names: readonly string[];
  readonly foreign: number;
} {
  const all = readdirSync(dir);
  const names = all.filter((name) => NAME.test(name)).toSorted();
  return { names, foreign: all.length - names.length };
}

/** Opens a file for reading. Throws when it is not a plain file. */
export function openSpoolFile(path: string): number {
  const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new Error(`${path} is not a plain file`);
}

function diskBytesOf(file: SpoolFile): number {
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
    if (more <= 0) throw new Error("the file system accepts no more bytes");
    written += more;
  }
}

function cutBack(fd: number, bytes: number): void {
  try {
    ftruncateSync(fd, bytes);
  } catch {
    // Recovery skips an incomplete batch.
  }
}
