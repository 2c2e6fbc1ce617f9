/**
 * Track files on disk: `ROOT/<stream>/<YYYY-MM-DD>[.<n>].jsonl`, days in UTC. A file holds whole lines only: an unfinished
 * line of a killed process or a full disk is cut off when the file is opened. All functions are synchronous and throw what
 * the file system throws; TrackLog handles it. (T9)
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

/** A file that is open for writing. */
export interface OpenFile {
  readonly fd: number;
  readonly path: string;
  readonly day: string;
  bytes: number;
}

/** A file in the directory of track files. */
export interface FoundFile {
  readonly dir: string;
  readonly path: string;
  readonly day: string;
  readonly index: number;
  readonly bytes: number;
}

/** The UTC day of a time in Unix ms, as in file names. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Opens the latest file of `day`, or the next one when the latest holds `fullBytes`. */
export function openForDay(dir: string, day: string, fullBytes: number): OpenFile {
  mkdirSync(dir, { recursive: true, mode: 0o750 });
  const index = lastIndex(dir, day);
  const file = openFile(dir, day, index);
  if (file.bytes < fullBytes) return file;
  closeFile(file);
  return openFile(dir, day, index + 1);
}

/** Whether the file is still linked in its directory. */
export function isLinked(file: OpenFile): boolean {
  return fstatSync(file.fd).nlink > 0;
}

/** Appends all of `bytes`. When the disk refuses, nothing is appended and the error is thrown. */
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
    // A network disk may report a lost write here; the file is closed nevertheless.
  }
}

/** Cuts off an unfinished line at the end of a file. */
export function mend({ dir, day, index }: FoundFile): void {
  closeFile(openFile(dir, day, index));
}

/**
 * Lists all track files, oldest first. Directories and files with other names are ignored. Directories that cannot be read
 * are reported to `onProblem`. `sizes` has the known sizes, by path, of files that are not written any more.
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
    // Without a size, the file was removed after it was listed.
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

/** The offset at which the last whole line of a file ends. */
function endOfLastLine(fd: number, size: number): number {
  const tail = new Uint8Array(Math.min(TAIL_BYTES, size));
  let end = size;
  // Nearly every file ends with a whole line.
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
