/**
 * Writes track events to a daily JSONL file for each stream, rotated by size, kept for some days and within a total size.
 * Each line is the tracker's own with its `run` added. When the disk refuses a write, its events are lost and counted;
 * nothing here throws, and no frame waits for it. All trackers of a coordinator share one. (T9)
 */
import { mkdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import type { StreamId } from "@fleet/protocol";
import {
  append,
  closeFile,
  dayOf,
  type FoundFile,
  isLinked,
  listFiles,
  mend,
  type OpenFile,
  openForDay,
} from "./track-files.ts";

const FLUSH_MS = 200;
const TIDY_MS = 60_000;
const DAY_MS = 86_400_000;
/** Bytes queued for one stream, and for all of them, beyond which they are written before the next flush. */
const QUEUE_BYTES_MAX = 256 * 1024;
const QUEUES_BYTES_MAX = 16 * 1024 ** 2;
/** Files kept open; beyond it the file that was written longest ago is closed until its next batch. */
const OPEN_FILES_MAX = 1024;
/** Files opened per flush, because opening one may take milliseconds and at midnight every stream needs a new one. */
const OPENS_PER_FLUSH = 16;
/** Open files are not removed, so they rotate early enough to hold at most this share of the total. */
const OPEN_SHARE = 0.5;
/** The share of the total that remains after a clean-up, so that the next batch does not exceed it again. */
const TIDY_SHARE = 0.9;

/** The limits of what is kept. */
export interface TrackLogLimits {
  readonly rotateBytes: number;
  readonly keepDays: number;
  /** It may be exceeded by one batch of each stream. */
  readonly totalBytesMax: number;
  /** Files kept open; OPEN_FILES_MAX when left out. */
  readonly openFilesMax?: number;
}

interface StreamFiles {
  readonly dir: string;
  parts: Uint8Array[];
  partBytes: number;
  file: OpenFile | undefined;
  /** The size of the file at the last check for idle files. */
  idleBytes: number | undefined;
}

/** Writes the events of all streams in batches every 200 ms. A stream that needs a new file may wait for later batches. */
export class TrackLog {
  /** Events that could not be written. */
  lost = 0;
  readonly #dir: string;
  readonly #limits: TrackLogLimits;
  readonly #clock: Clock;
  readonly #log: Log;
  /** The streams with an open file or queued events, in the order of their latest write. */
  readonly #streams = new Map<StreamId, StreamFiles>();
  readonly #failing = new Set<StreamId>();
  readonly #timers: Timer[] = [];
  #openFiles = 0;
  #queuedBytes = 0;
  /** The bytes in all files as far as known, and the number above which they are counted and tidied. */
  #keptBytes = 0;
  #tidyAboveBytes = 0;
  #isTidyFailing = false;
  /** The sizes of files of past days, by path. There may be thousands of them, and asking for each size takes long. */
  #pastSizes: ReadonlyMap<string, number> = new Map();

  constructor(dir: string, limits: TrackLogLimits, clock: Clock, log: Log) {
    this.#dir = dir;
    this.#limits = limits;
    this.#clock = clock;
    this.#log = log;
  }

  start(): void {
    try {
      mkdirSync(this.#dir, { recursive: true, mode: 0o750 });
      this.#mendLast();
    } catch (err) {
      this.#log.error({ err, dir: this.#dir }, "directory of track files cannot be used");
    }
    this.tidy();
    this.#timers.push(every(this.#clock, FLUSH_MS, () => this.#flushInTurn()));
    this.#timers.push(every(this.#clock, TIDY_MS, () => this.#closeIdle()));
    this.#timers.push(every(this.#clock, TIDY_MS, () => this.tidy()));
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.flush();
    for (const files of this.#streams.values()) this.#close(files);
  }

  /** Queues one event: `line[start..end)` is a JSON object, which is copied. */
  write(stream: StreamId, line: Uint8Array, start: number, end: number, run: number): void {
    let files = this.#streams.get(stream);
    if (files === undefined) {
      files = {
        dir: join(this.#dir, stream),
        parts: [],
        partBytes: 0,
        file: undefined,
        idleBytes: undefined,
      };
      this.#streams.set(stream, files);
    }
    const tail = Buffer.from(`,"run":${run}}\n`);
    const bytes = new Uint8Array(end - start - 1 + tail.length);
    bytes.set(line.subarray(start, end - 1));
    bytes.set(tail, end - start - 1);
    files.parts.push(bytes);
    files.partBytes += bytes.length;
    this.#queuedBytes += bytes.length;
    if (files.partBytes >= QUEUE_BYTES_MAX) this.#flushStream(stream, files);
    if (this.#queuedBytes >= QUEUES_BYTES_MAX) this.flush();
  }

  /** Writes everything queued. */
  flush(): void {
    // A stream that is written moves to the end of the map, where it is visited again with nothing queued.
    for (const [stream, files] of this.#streams) this.#flushStream(stream, files);
  }

  /**
   * Removes files older than `keepDays`, then, while the rest exceeds `totalBytesMax`, the oldest files of all streams. Open
   * files are not removed.
   */
  tidy(): void {
    let problem: unknown;
    const note = (error: unknown): void => {
      problem ??= error;
    };
    try {
      this.#removeOld(listFiles(this.#dir, note, this.#pastSizes), note);
    } catch (error) {
      note(error);
    }
    if (problem !== undefined && !this.#isTidyFailing)
      this.#log.error({ err: problem }, "removing old track files fails");
    this.#isTidyFailing = problem !== undefined;
  }

  #flushInTurn(): void {
    let opens = 0;
    for (const [stream, files] of this.#streams) {
      if (files.parts.length === 0) continue;
      if (this.#isUsable(files.file) || ++opens <= OPENS_PER_FLUSH)
        this.#flushStream(stream, files);
    }
  }

  #removeOld(found: readonly FoundFile[], onProblem: (error: unknown) => void): void {
    const { keepDays, totalBytesMax } = this.#limits;
    const written = new Set([...this.#streams.values()].map(({ file }) => file?.path));
    const oldest = dayOf(this.#clock.nowMs() - keepDays * DAY_MS);
    let bytes = found.reduce((sum, file) => sum + file.bytes, 0);
    const today = dayOf(this.#clock.nowMs());
    this.#pastSizes = new Map(
      found.filter((f) => f.day < today && !written.has(f.path)).map((f) => [f.path, f.bytes]),
    );
    const keepBytes = bytes > totalBytesMax ? totalBytesMax * TIDY_SHARE : totalBytesMax;
    for (const file of found) {
      if (written.has(file.path) || (file.day >= oldest && bytes <= keepBytes)) continue;
      try {
        rmSync(file.path, { force: true });
        bytes -= file.bytes;
        removeIfEmpty(file.dir);
      } catch (error) {
        onProblem(error);
      }
    }
    this.#keptBytes = bytes;
    // When nothing more could be removed, looking again with every batch is useless.
    this.#tidyAboveBytes = Math.max(totalBytesMax, bytes + totalBytesMax * (1 - TIDY_SHARE));
  }

  #flushStream(stream: StreamId, files: StreamFiles): void {
    const { parts, partBytes } = files;
    if (parts.length === 0) return;
    files.parts = [];
    files.partBytes = 0;
    this.#queuedBytes -= partBytes;
    this.#streams.delete(stream);
    this.#streams.set(stream, files);
    try {
      append(this.#fileFor(files), Buffer.concat(parts, partBytes));
    } catch (error) {
      this.lost += parts.length;
      this.#onFailure(stream, files, error);
      return;
    }
    this.#keptBytes += partBytes;
    if (this.#failing.delete(stream) && this.#failing.size === 0)
      this.#log.info({ lost: this.lost }, "writing track files works again");
    // A flood of events must not exceed the total before the next regular clean-up.
    if (this.#keptBytes > this.#tidyAboveBytes) this.tidy();
  }

  /** Logs the first failure, of whichever stream, until all streams can be written again. */
  #onFailure(stream: StreamId, files: StreamFiles, err: unknown): void {
    if (this.#failing.size === 0)
      this.#log.error({ err, stream_id: stream }, "writing track files fails, events are lost");
    this.#failing.add(stream);
    // On a full disk the file stays usable; after another error it may not be.
    if ((err as NodeJS.ErrnoException).code !== "ENOSPC") this.#close(files);
  }

  #fileFor(files: StreamFiles): OpenFile {
    if (this.#isUsable(files.file) && isLinked(files.file)) return files.file;
    this.#close(files);
    if (this.#openFiles >= (this.#limits.openFilesMax ?? OPEN_FILES_MAX)) this.#closeOldest();
    files.file = openForDay(files.dir, dayOf(this.#clock.nowMs()), this.#fullBytes);
    this.#openFiles++;
    return files.file;
  }

  /** Whether the file is of today and not full. */
  #isUsable(file: OpenFile | undefined): file is OpenFile {
    return file?.day === dayOf(this.#clock.nowMs()) && file.bytes < this.#fullBytes;
  }

  get #fullBytes(): number {
    const { rotateBytes, totalBytesMax } = this.#limits;
    return Math.min(rotateBytes, (totalBytesMax * OPEN_SHARE) / Math.max(1, this.#openFiles));
  }

  #closeOldest(): void {
    for (const files of this.#streams.values()) {
      if (files.file === undefined) continue;
      this.#close(files);
      return;
    }
  }

  /** Closes the files of other days, and those that were not written since the last call. */
  #closeIdle(): void {
    const today = dayOf(this.#clock.nowMs());
    for (const [stream, files] of this.#streams) {
      if (files.parts.length > 0) continue;
      if (files.file?.day === today && files.file.bytes !== files.idleBytes) {
        files.idleBytes = files.file.bytes;
        continue;
      }
      this.#close(files);
      this.#streams.delete(stream);
      this.#failing.delete(stream);
    }
  }

  #close(files: StreamFiles): void {
    if (files.file === undefined) return;
    closeFile(files.file);
    files.file = undefined;
    this.#openFiles--;
  }

  /** Mends the newest file of each stream, in which a killed process may have left an unfinished line. */
  #mendLast(): void {
    const newest = new Map<string, FoundFile>();
    for (const file of listFiles(this.#dir, () => {})) newest.set(file.dir, file);
    for (const file of newest.values()) {
      try {
        mend(file);
      } catch (err) {
        this.#log.error({ err }, "mending a track file fails");
      }
    }
  }
}

/** Removes the directory of a stream without files. A directory that holds other files stays. */
function removeIfEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // Not empty.
  }
}
