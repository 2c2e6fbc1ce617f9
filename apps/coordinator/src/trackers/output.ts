/**
 * Where track events go: a daily JSONL file per stream, `DIR/<stream>/<YYYY-MM-DD>[.<n>].jsonl` (UTC), rotated by size,
 * kept for some days and within a total. Each line is the tracker's own with its `run` added. A disk that refuses stops
 * the files and counts the events, not the frames. (T9)
 */
import {
  closeSync,
  fstatSync,
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
    this.#timers.push(every(this.#clock, PRUNE_MS, () => this.prune()));
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

  /** Removes files older than `keepDays`, then the oldest ones beyond `totalBytesMax`. Open files stay. */
  prune(): void {
    const open = new Set<string>();
    for (const { dir, file } of this.#streams.values()) {
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

  #flushStream(files: StreamFiles): void {
    if (files.parts.length === 0) return;
    const batch = Buffer.concat(files.parts, files.partBytes);
    const events = files.events;
    files.parts = [];
    files.partBytes = 0;
    files.events = 0;
    try {
      const file = this.#fileFor(files);
      writeAll(file.fd, batch);
      file.bytes += batch.length;
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
    return file;
  }
}

function openFile(dir: string, day: string, index: number): OpenFile {
  const fd = openSync(join(dir, fileName(day, index)), "a+", 0o640);
  let bytes = fstatSync(fd).size;
  // A process killed in mid-write leaves half a line; what follows must not be glued to it.
  const last = new Uint8Array(1);
  if (bytes > 0 && readSync(fd, last, 0, 1, bytes - 1) === 1 && last[0] !== LF) {
    bytes += writeSync(fd, "\n");
  }
  return { fd, day, index, bytes };
}

function writeAll(fd: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done);
}

function closeFile(files: StreamFiles): void {
  if (files.file !== undefined) closeSync(files.file.fd);
  files.file = undefined;
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
      found.push({
        path,
        day: match[1]!,
        index: Number(match[2] ?? 0),
        bytes: statSync(path).size,
      });
    }
  }
  return found.toSorted((a, b) => (a.day === b.day ? a.index - b.index : a.day < b.day ? -1 : 1));
}
