/**
 * Where track events go: a daily JSONL file per stream (track-files.ts), rotated by size, kept for some days and within a
 * total. Each line is the tracker's own with its `run` added. A disk that refuses stops the files and counts the events,
 * not the frames: nothing here throws, and nothing waits. (T9)
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
  isThere,
  listFiles,
  mend,
  type OpenFile,
  openForDay,
} from "./track-files.ts";

const FLUSH_MS = 200;
const TIDY_MS = 60_000;
const DAY_MS = 86_400_000;
/** Of one stream, and of all: what is queued is written before the next flush when there is more. */
const QUEUE_BYTES_MAX = 256 * 1024;
const QUEUES_BYTES_MAX = 16 * 1024 ** 2;
/** Files kept open; of more streams than this the one written longest ago is opened again for its next batch. */
const OPEN_FILES_MAX = 1024;
/** Files opened in one go: a disk may take milliseconds for each, and at midnight every stream wants a new one. */
const OPENS_PER_FLUSH = 16;
/** Files that are written are never removed, so together they may reach this part of the total: they rotate sooner. */
const OPEN_SHARE = 0.5;
/** What is left when the total was exceeded, so that it is not exceeded again with the next batch. */
const TIDY_SHARE = 0.9;

/** Bounds of what is kept. */
export interface TrackLogLimits {
  readonly rotateBytes: number;
  readonly keepDays: number;
  /** Exceeded by a batch of each stream at most. */
  readonly totalBytesMax: number;
  /** Files kept open, OPEN_FILES_MAX when left out. */
  readonly openFilesMax?: number;
}

interface StreamFiles {
  readonly dir: string;
  parts: Uint8Array[];
  partBytes: number;
  file: OpenFile | undefined;
  /** What the file held when idle ones were closed last. */
  idleBytes: number | undefined;
}

/** Writes events of all streams in batches, every 200 ms; a new file may have to wait for its turn. */
export class TrackLog {
  /** Events that could not be written. */
  lost = 0;
  readonly #dir: string;
  readonly #limits: TrackLogLimits;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Those with an open file or something queued; written longest ago first. */
  readonly #streams = new Map<StreamId, StreamFiles>();
  readonly #failing = new Set<StreamId>();
  readonly #timers: Timer[] = [];
  #openFiles = 0;
  #queuedBytes = 0;
  /** What all files hold, as far as we know, and from where on that is looked into. */
  #keptBytes = 0;
  #tidyAboveBytes = 0;
  #tidyFailing = false;
  /** Of files of past days, by path: with some weeks of 500 streams there are thousands, and asking takes its time. */
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
      this.#log.error({ err, dir: this.#dir }, "the directory for track files can't be used");
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

  /** Queues one event: `line[start..end)` is a JSON object without its closing brace's LF. Copies what it keeps. */
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

  /** Writes out everything queued. */
  flush(): void {
    // Each one that is written goes to the end of the map, and is met there again with nothing queued.
    for (const [stream, files] of this.#streams) this.#flushStream(stream, files);
  }

  /**
   * Removes files older than `keepDays`, then, when there is more than `totalBytesMax`, the oldest ones of all streams.
   * Files that are being written stay.
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
    if (problem !== undefined && !this.#tidyFailing)
      this.#log.error({ err: problem }, "old track files can't be removed");
    this.#tidyFailing = problem !== undefined;
  }

  #flushInTurn(): void {
    let opens = 0;
    for (const [stream, files] of this.#streams) {
      if (files.parts.length === 0) continue;
      if (this.#fits(files.file) || ++opens <= OPENS_PER_FLUSH) this.#flushStream(stream, files);
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
    // Where nothing more could be removed there is no use in looking with every batch.
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
      this.#failed(stream, files, error);
      return;
    }
    this.#keptBytes += partBytes;
    if (this.#failing.delete(stream) && this.#failing.size === 0)
      this.#log.info({ lost: this.lost }, "track files can be written again");
    // A flood must not outrun the minute.
    if (this.#keptBytes > this.#tidyAboveBytes) this.tidy();
  }

  /** Said once, whichever streams it hits, until all can be written again. */
  #failed(stream: StreamId, files: StreamFiles, err: unknown): void {
    if (this.#failing.size === 0)
      this.#log.error({ err, stream_id: stream }, "track files can't be written, events are lost");
    this.#failing.add(stream);
    // A full disk is asked again; whatever else it is, the file may be beyond use.
    if ((err as NodeJS.ErrnoException).code !== "ENOSPC") this.#close(files);
  }

  #fileFor(files: StreamFiles): OpenFile {
    if (this.#fits(files.file) && isThere(files.file)) return files.file;
    this.#close(files);
    if (this.#openFiles >= (this.#limits.openFilesMax ?? OPEN_FILES_MAX)) this.#closeOldest();
    files.file = openForDay(files.dir, dayOf(this.#clock.nowMs()), this.#fullBytes);
    this.#openFiles++;
    return files.file;
  }

  /** Whether it is today's and not full. */
  #fits(file: OpenFile | undefined): file is OpenFile {
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

  /** Closes the files of other days, and what nothing was written to since it was asked last. */
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

  /** Mends the newest file of each stream: a process that was killed may have left half a line in it. */
  #mendLast(): void {
    const newest = new Map<string, FoundFile>();
    for (const file of listFiles(this.#dir, () => {})) newest.set(file.dir, file);
    for (const file of newest.values()) {
      try {
        mend(file);
      } catch (err) {
        this.#log.error({ err }, "a track file can't be mended");
      }
    }
  }
}

/** A stream that has no file any more needs no directory. Others' files in it keep it. */
function removeIfEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // Not empty.
  }
}
