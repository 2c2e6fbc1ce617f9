/**
 * Reading a sensor's rotated log: `NAME.log` is written to, `NAME.log.1` is the one before it, and so on. Nothing is held in
 * memory but what was asked for. Used by the store that writes them and by `fleet-agent logs`. (A11)
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { type SensorName, sensorNameSchema } from "@fleet/protocol";

/** The most files a log may have (`log.files`). */
export const LOG_FILES_MAX = 100;
/** A sensor of the agent's uid may put anything in a log's place: nothing is followed, nothing is waited for. */
export const SAFE_FLAGS = constants.O_NOFOLLOW | constants.O_NONBLOCK;

const BLOCK_BYTES = 64 * 1024;
const LF = 10;
const SUFFIX = ".log";

/** One file of a log, open for reading. `sizeBytes` and `writtenNs` are from when it was opened. */
export interface LogFile {
  readonly fd: number;
  readonly inode: bigint;
  readonly sizeBytes: number;
  readonly writtenNs: bigint;
}

/** The directory of all sensors' logs. */
export function logDir(stateDir: string): string {
  return join(stateDir, "logs");
}

/** The file a sensor's log is written to. */
export function logPath(stateDir: string, sensor: SensorName): string {
  return join(logDir(stateDir), `${sensor}${SUFFIX}`);
}

/** The sensors that have a log, in order of name. Throws what the directory's reading throws. */
export function sensorsWithLogs(stateDir: string): string[] {
  return readdirSync(logDir(stateDir))
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => name.slice(0, -SUFFIX.length))
    .filter((name) => sensorNameSchema.safeParse(name).success)
    .toSorted();
}

/** The name of a log's file that was rotated out `age` times. */
export function rotatedPath(path: string, age: number): string {
  return age === 0 ? path : `${path}.${age}`;
}

/** The files of the log at `path`, oldest first, at most LOG_FILES_MAX; for `closeLog`. What is no plain file is left out. */
export function openLog(path: string): LogFile[] {
  const files: LogFile[] = [];
  // Youngest first: one that is rotated meanwhile is met twice, the other way round it would be missed.
  for (let age = 0; age < LOG_FILES_MAX; age++) {
    const file = openFile(rotatedPath(path, age));
    if (file === undefined && age > 0) break;
    if (file === undefined) continue;
    if (files.some(({ inode }) => inode === file.inode)) closeSync(file.fd);
    else files.push(file);
  }
  return files.toReversed();
}

export function closeLog(files: readonly LogFile[]): void {
  for (const { fd } of files) closeSync(fd);
}

/** A place in a log: the file, counted from the oldest, and the byte in it. */
export interface LogPlace {
  readonly index: number;
  readonly offset: number;
}

/** Where the last `linesMax` lines of `files` begin; one that has no end yet counts. */
export function tailStart(files: readonly LogFile[], linesMax: number): LogPlace {
  let linesLeft = linesMax;
  for (let index = files.length - 1; index >= 0; index--) {
    const { fd, sizeBytes } = files[index]!;
    if (linesLeft <= 0) return { index, offset: sizeBytes };
    if (sizeBytes === 0) continue;
    let end = sizeBytes;
    while (end > 0) {
      const start = Math.max(0, end - BLOCK_BYTES);
      const block = readAt(fd, start, end - start);
      // The LF that ends the file ends its last line; each other one ends a line that stands before the next.
      const found = startOfLines(block, linesLeft, end === sizeBytes);
      if (found.start > 0) return { index, offset: start + found.start };
      linesLeft -= found.lines;
      end = start;
    }
    linesLeft--;
  }
  return { index: 0, offset: 0 };
}

/** What stands from `place` on, in pieces. */
export function* readFrom(files: readonly LogFile[], place: LogPlace): Generator<Uint8Array> {
  for (const [index, { fd, sizeBytes }] of files.entries()) {
    if (index < place.index) continue;
    let at = index === place.index ? place.offset : 0;
    while (at < sizeBytes) {
      const block = readAt(fd, at, Math.min(BLOCK_BYTES, sizeBytes - at));
      if (block.length === 0) break;
      yield block;
      at += block.length;
    }
  }
}

/** The bytes at `start`, at most `length`; fewer at the end. */
export function readAt(fd: number, start: number, length: number): Uint8Array {
  const block = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const read = readSync(fd, block, filled, length - filled, start + filled);
    if (read === 0) break;
    filled += read;
  }
  return block.subarray(0, filled);
}

/** Where the last `lines` lines of a block begin, when that is in it: 0 and how many LFs of other lines were met, when not. */
function startOfLines(
  block: Uint8Array,
  lines: number,
  isLast: boolean,
): { readonly start: number; readonly lines: number } {
  let met = 0;
  let at = isLast ? block.length - 1 : block.length;
  // A negative index would count from the end.
  while (at > 0) {
    at = block.lastIndexOf(LF, at - 1);
    if (at >= 0 && ++met === lines) return { start: at + 1, lines: met };
  }
  return { start: 0, lines: met };
}

function openFile(path: string): LogFile | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | SAFE_FLAGS);
  } catch {
    return undefined;
  }
  const stat = fstatSync(fd, { bigint: true });
  if (!stat.isFile()) {
    closeSync(fd);
    return undefined;
  }
  return { fd, inode: stat.ino, sizeBytes: Number(stat.size), writtenNs: stat.mtimeNs };
}
