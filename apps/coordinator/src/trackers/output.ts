/**
 * Where track events go: a daily JSONL file per stream, `DIR/<stream>/<YYYY-MM-DD>[.<n>].jsonl` (UTC), rotated by size,
 * kept for some days and within a total. Each line is the tracker's own with its `run` added, and whole: what a killed
 * process or a full disk left of one is cut off. A disk that refuses stops the files and counts the events, not the
 * frames. (T9)
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import type { StreamId } from "@fleet/protocol";

const FLUSH_MS = 200;
const PRUNE_MS = 60_000;
const DAY_MS = 86_400_000;
const BUFFER_BYTES_MAX = 256 * 1024;
const LF = 10;
const TAIL_BYTES = 64 * 1024;
const FILE = /^(\d{4}-\d{2}-\d{2})(?:\.(\d+))?\.jsonl$/;

/** Bounds of what is kept. */
export interface OutputLimits {
  readonly rotateBytes: number;
  readonly keepDays: number;
  readonly totalBytesMax: number;
}

interface OpenFile {
  readonly fd: number;
  readonly day: string;
  readonly index: number;
  bytes: number;
}

interface StreamFiles {
  readonly dir: string;
  parts: Uint8Array[];
  partBytes: number;
  events: number;
  file: OpenFile | undefined;
}

/** Writes events of all streams in batches, at least every 200 ms. */
export class Output {
  /** Events that could not be written. */
  lost = 0;
  readonly #dir: string;
  readonly #limits: OutputLimits;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #streams = new Map<StreamId, StreamFiles>();
  readonly #timers: Timer[] = [];
  #failing = false;

  constructor(dir: string, limits: OutputLimits, clock: Clock, log: Log) {
    this.#dir = dir;
    this.#limits = limits;
    this.#clock = clock;
    this.#log = log;
  }

  start(): void {
    mkdirSync(this.#dir, { recursive: true, mode: 0o750 });
    this.prune();
    this.#timers.push(every(this.#clock, FLUSH_MS, () => this.flush()));
    this.#timers.push(every(this.#clock, PRUNE_MS, () => this.#tryPrune()));
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.flush();
    for (const files of this.#streams.values()) closeFile(files);
  }

  /** Queues one event: `line[start..end)` is a JSON object without its closing brace's LF. Copies what it keeps. */
  write(stream: StreamId, line: Uint8Array, start: number, end: number, run: number): void {
    let files = this.#streams.get(stream);
    if (files === undefined) {
      const dir = join(this.#dir, stream);
      files = { dir, parts: [], partBytes: 0, events: 0, file: undefined };
      this.#streams.set(stream, files);
    }
    const tail = Buffer.from(`,"run":${run}}\n`);
    const bytes = new Uint8Array(end - start - 1 + tail.length);
    bytes.set(line.subarray(start, end - 1));
    bytes.set(tail, end - start - 1);
    files.parts.push(bytes);
    files.partBytes += bytes.length;
    files.events++;
    if (files.partBytes >= BUFFER_BYTES_MAX) this.#flushStream(files);
  }

  /** Writes out everything queued. */
  flush(): void {
    for (const files of this.#streams.values()) this.#flushStream(files);
  }

  /** Removes files older than `keepDays`, then the oldest ones beyond `totalBytesMax`. Files of today that are open stay. */
  prune(): void {
    const open = new Set<string>();
    const today = dayOf(this.#clock.nowMs());
    for (const files of this.#streams.values()) {
      if (files.file !== undefined && files.file.day !== today) closeFile(files);
      const { dir, file } = files;
      if (file !== undefined) open.add(join(dir, fileName(file.day, file.index)));
    }
    const found = listFiles(this.#dir);
    const oldest = dayOf(this.#clock.nowMs() - this.#limits.keepDays * DAY_MS);
    let total = found.reduce((sum, f) => sum + f.bytes, 0);
    for (const { path, day, bytes } of found) {
      if (open.has(path) || (day >= oldest && total <= this.#limits.totalBytesMax)) continue;
      rmSync(path, { force: true });
      total -= bytes;
    }
  }

  #tryPrune(): void {
    try {
      this.prune();
    } catch (err) {
      this.#log.error({ err }, "old track files can't be removed");
    }
  }

  #flushStream(files: StreamFiles): void {
    if (files.parts.length === 0) return;
    const batch = Buffer.concat(files.parts, files.partBytes);
    const events = files.events;
    files.parts = [];
    files.partBytes = 0;
    files.events = 0;
    try {
      const file = this.#fileFor(files);
      writeAll(file, batch);
      if (this.#failing) this.#log.info({ lost: this.lost }, "track files can be written again");
      this.#failing = false;
    } catch (err) {
      this.lost += events;
      if (!this.#failing) this.#log.error({ err }, "track files can't be written, events are lost");
      this.#failing = true;
      closeFile(files);
    }
  }

  #fileFor(files: StreamFiles): OpenFile {
    const day = dayOf(this.#clock.nowMs());
    const current = files.file;
    if (current !== undefined) {
      if (current.day === day && current.bytes < this.#limits.rotateBytes) return current;
      closeFile(files);
    }
    mkdirSync(files.dir, { recursive: true, mode: 0o750 });
    let index = lastIndex(files.dir, day);
    let file = openFile(files.dir, day, index);
    if (file.bytes >= this.#limits.rotateBytes) {
      closeSync(file.fd);
      file = openFile(files.dir, day, ++index);
    }
    files.file = file;
    // A flood must not outrun the minute between prunes.
    if (index > 0) this.#tryPrune();
    return file;
  }
}

function openFile(dir: string, day: string, index: number): OpenFile {
  const fd = openSync(join(dir, fileName(day, index)), "a+", 0o640);
  try {
    const { size } = fstatSync(fd);
    const bytes = endOfLastLine(fd, size);
    if (bytes < size) ftruncateSync(fd, bytes);
    return { fd, day, index, bytes };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Where the last whole line of a file ends; a process killed in mid-write leaves a part of one behind it. */
function endOfLastLine(fd: number, size: number): number {
  const tail = new Uint8Array(TAIL_BYTES);
  let end = size;
  while (end > 0) {
    const start = Math.max(0, end - TAIL_BYTES);
    const read = readSync(fd, tail, 0, end - start, start);
    const lf = tail.subarray(0, read).lastIndexOf(LF);
    if (lf >= 0) return start + lf + 1;
    end = start;
  }
  return 0;
}

/** All of `bytes` or, when the disk refuses, none. */
function writeAll(file: OpenFile, bytes: Uint8Array): void {
  let done = 0;
  try {
    while (done < bytes.length) done += writeSync(file.fd, bytes, done);
  } catch (error) {
    ftruncateSync(file.fd, file.bytes);
    throw error;
  }
  file.bytes += bytes.length;
}

function closeFile(files: StreamFiles): void {
  const { file } = files;
  files.file = undefined;
  try {
    if (file !== undefined) closeSync(file.fd);
  } catch {
    // What a network disk had not written yet is lost; the file is closed all the same.
  }
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function fileName(day: string, index: number): string {
  return index === 0 ? `${day}.jsonl` : `${day}.${index}.jsonl`;
}

function lastIndex(dir: string, day: string): number {
  let last = 0;
  for (const name of readdirSync(dir)) {
    const match = FILE.exec(name);
    if (match?.[1] === day) last = Math.max(last, Number(match[2] ?? 0));
  }
  return last;
}

/** All track files, oldest first. */
function listFiles(root: string): { path: string; day: string; bytes: number }[] {
  const found: { path: string; day: string; index: number; bytes: number }[] = [];
  for (const entry of readdirSync(root, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    for (const name of readdirSync(join(root, entry.name))) {
      const match = FILE.exec(name);
      if (match === null) continue;
      const path = join(root, entry.name, name);
      // Gone since it was listed: somebody else tidies up here too.
      const bytes = statSync(path, { throwIfNoEntry: false })?.size;
      if (bytes === undefined) continue;
      found.push({ path, day: match[1]!, index: Number(match[2] ?? 0), bytes });
    }
  }
  return found.toSorted((a, b) => (a.day === b.day ? a.index - b.index : a.day < b.day ? -1 : 1));
}
