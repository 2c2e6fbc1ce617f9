/**
 * Track files on disk: `ROOT/<stream>/<YYYY-MM-DD>[.<n>].jsonl`, days in UTC. Each holds whole lines only: what a killed
 * process or a full disk left of one is cut off when the file is opened. Everything here is synchronous and throws what
 * the file system throws; output.ts decides what that means. (T9)
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { streamIdSchema } from "@fleet/protocol";

const FILE = /^(\d{4}-\d{2}-\d{2})(?:\.([1-9]\d{0,8}))?\.jsonl$/;
const LF = 10;
const TAIL_BYTES = 64 * 1024;

/** A file that is being written. */
export interface OpenFile {
  readonly fd: number;
  readonly path: string;
  readonly day: string;
  bytes: number;
}

/** A file that was found. */
export interface FoundFile {
  readonly dir: string;
  readonly path: string;
  readonly day: string;
  readonly index: number;
  readonly bytes: number;
}

/** The day (UTC) of a time in Unix ms, as file names have it. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** The file of `day` to go on with: the last one there is, or a new one behind it when that has `fullBytes`. */
export function openForDay(dir: string, day: string, fullBytes: number): OpenFile {
  mkdirSync(dir, { recursive: true, mode: 0o750 });
  const index = lastIndex(dir, day);
  const file = openFile(dir, day, index);
  if (file.bytes < fullBytes) return file;
  closeFile(file);
  return openFile(dir, day, index + 1);
}

/** Whether the file is still in its directory, so that what is written to it can be found. */
export function isThere(file: OpenFile): boolean {
  return fstatSync(file.fd).nlink > 0;
}

/** Appends all of `bytes` or, when the disk refuses, nothing, and throws. */
export function append(file: OpenFile, bytes: Uint8Array): void {
  const { size } = fstatSync(file.fd);
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(file.fd, bytes, done);
  } catch (error) {
    ftruncateSync(file.fd, size);
    throw error;
  }
  file.bytes = size + bytes.length;
}

export function closeFile(file: OpenFile): void {
  try {
    closeSync(file.fd);
  } catch {
    // What a network disk had not written yet is lost; the file is closed all the same.
  }
}

/** Cuts off what the last process left of a line at the end of a file. */
export function mend({ dir, day, index }: FoundFile): void {
  closeFile(openFile(dir, day, index));
}

/**
 * All track files, oldest first. Directories that are no stream's, and files of other names, are somebody else's. What
 * can't be looked into is left out and told. `sizes` has the sizes, by path, of files that nothing is written to any more.
 */
export function listFiles(
  root: string,
  onProblem: (error: unknown) => void,
  sizes: ReadonlyMap<string, number> = new Map(),
): FoundFile[] {
  const found: FoundFile[] = [];
  for (const entry of readdirSync(root, { withFileTypes: true })) {
    if (!entry.isDirectory() || !streamIdSchema.safeParse(entry.name).success) continue;
    try {
      found.push(...filesIn(join(root, entry.name), sizes));
    } catch (error) {
      onProblem(error);
    }
  }
  return found.toSorted((a, b) => (a.day === b.day ? a.index - b.index : a.day < b.day ? -1 : 1));
}

function filesIn(dir: string, sizes: ReadonlyMap<string, number>): FoundFile[] {
  const found: FoundFile[] = [];
  for (const name of readdirSync(dir)) {
    const match = FILE.exec(name);
    if (match === null) continue;
    const path = join(dir, name);
    // Gone since it was listed: somebody else tidies up here too.
    const bytes = sizes.get(path) ?? statSync(path, { throwIfNoEntry: false })?.size;
    if (bytes !== undefined)
      found.push({ dir, path, day: match[1]!, index: Number(match[2] ?? 0), bytes });
  }
  return found;
}

function lastIndex(dir: string, day: string): number {
  let last = 0;
  for (const name of readdirSync(dir)) {
    const match = FILE.exec(name);
    if (match?.[1] === day) last = Math.max(last, Number(match[2] ?? 0));
  }
  return last;
}

function openFile(dir: string, day: string, index: number): OpenFile {
  const path = join(dir, index === 0 ? `${day}.jsonl` : `${day}.${index}.jsonl`);
  const fd = openSync(path, "a+", 0o640);
  try {
    const { size } = fstatSync(fd);
    const bytes = endOfLastLine(fd, size);
    if (bytes < size) ftruncateSync(fd, bytes);
    return { fd, path, day, bytes };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Where the last whole line of a file ends. */
function endOfLastLine(fd: number, size: number): number {
  const tail = new Uint8Array(Math.min(TAIL_BYTES, size));
  let end = size;
  // Nearly always the file ends with a line.
  if (end > 0 && readSync(fd, tail, 0, 1, end - 1) === 1 && tail[0] === LF) return end;
  while (end > 0) {
    const start = Math.max(0, end - TAIL_BYTES);
    const read = readSync(fd, tail, 0, end - start, start);
    const lf = tail.subarray(0, read).lastIndexOf(LF);
    if (lf >= 0) return start + lf + 1;
    end = start;
  }
  return 0;
}
