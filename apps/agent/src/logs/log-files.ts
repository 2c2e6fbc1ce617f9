/**
 * Reads a sensor's rotated log: `NAME.log` is the current file, `NAME.log.1` the one before it, and so on. Memory use is bounded
 * by what is requested. Used by RotatedFile, which writes the files, and by `fleet-agent logs`. (A11)
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { type SensorName, sensorNameSchema } from "@fleet/protocol";

/** The most files a log may have (`log.files`). */
export const LOG_FILES_MAX = 100;
/** A sensor with the agent's uid may replace a log by anything: links are not followed and pipes do not block. */
export const SAFE_FLAGS = constants.O_NOFOLLOW | constants.O_NONBLOCK;

const BLOCK_BYTES = 64 * 1024;
const LF = 10;
const SUFFIX = ".log";

/** One file of a log, open for reading. `sizeBytes` and `writtenNs` are as of its opening. */
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

/** The current file of a sensor's log. */
export function logPath(stateDir: string, sensor: SensorName): string {
  return join(logDir(stateDir), `${sensor}${SUFFIX}`);
}

/** The sensors with a log, sorted by name. Throws system errors. */
export function sensorsWithLogs(stateDir: string): string[] {
  return readdirSync(logDir(stateDir))
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => name.slice(0, -SUFFIX.length))
    .filter((name) => sensorNameSchema.safeParse(name).success)
    .toSorted();
}

/** The path of the file that was rotated `age` times. */
export function rotatedPath(path: string, age: number): string {
  return age === 0 ? path : `${path}.${age}`;
}

/** Opens the files of the log at `path`, oldest first, at most LOG_FILES_MAX, plain files only. Close them by `closeLog`. */
export function openLog(path: string): LogFile[] {
  const files: LogFile[] = [];
  // Youngest first: a file rotated in the meantime is then seen twice; in the other order it would be missed.
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

/** A position in a log: the index of the file, from the oldest, and the offset in it. */
export interface LogPlace {
  readonly index: number;
  readonly offset: number;
}

/** The start of the last `linesMax` lines of `files`; an unfinished line counts. */
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
      // The LF at the end of the file ends its last line; every other LF separates two lines.
      const found = startOfLines(block, linesLeft, end === sizeBytes);
      if (found.start > 0) return { index, offset: start + found.start };
      linesLeft -= found.lines;
      end = start;
    }
    linesLeft--;
  }
  return { index: 0, offset: 0 };
}

/** The content from `place` on, in pieces. */
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

/** Reads `length` bytes at `start`, fewer at the end of the file. */
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

/** The start of the last `lines` lines of a block; if that is before the block, 0 and the number of LFs found. */
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
