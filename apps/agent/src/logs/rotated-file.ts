/**
 * The log of one sensor as files: `NAME.log`, rotated to `NAME.log.1` and so on. No file exceeds its bound, only whole lines are
 * written, and files of earlier runs are continued. A full or read-only disk, or a file that was removed, truncated or replaced,
 * never throws: lines that can't be written are counted, reported once, and their number is written to the file as soon as that
 * is possible. Writes are synchronous. Used by SensorLog. (A11)
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Clock, Log } from "@fleet/daemon";
import {
  closeLog,
  openLog,
  readAt,
  readFrom,
  rotatedPath,
  SAFE_FLAGS,
  tailStart,
} from "./log-files.ts";
import type { LogStore } from "./log-store.ts";

const FILE_MODE = 0o600;
const DIR_MODE = 0o700;
/** How long to wait after a failed write. */
const RETRY_MS = 1000;
/** Bounds the memory of `tail`. */
const TAIL_LINES_MAX = 10_000;
const LF = 10;
const WRITE_FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | SAFE_FLAGS;

/** The log has `files` files of at most `bytesMax` (≥ 16 KiB) each, including the current one. */
export interface RotatedFileOptions {
  readonly path: string;
  readonly bytesMax: number;
  readonly files: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** The current file. */
interface Current {
  readonly fd: number;
  readonly inode: bigint;
}

/** The store of a sensor log in a state directory. */
export class RotatedFile implements LogStore {
  readonly #options: RotatedFileOptions;
  #current: Current | undefined;
  #sizeBytes = 0;
  #lost = 0;
  #isFailing = false;
  #retryAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: RotatedFileOptions) {
    this.#options = options;
    this.#removeBeyond(options.files);
  }

  append(lines: readonly Uint8Array[]): void {
    const { clock, log, path } = this.#options;
    if (clock.monotonicMs() < this.#retryAtMs) {
      this.#lost += lines.length;
      return;
    }
    let written = 0;
    try {
      this.#open();
      if (this.#lost > 0) this.#write([this.#lossLine()]);
      this.#writeAll(lines, (count) => (written += count));
      if (this.#isFailing)
        log.info({ path, lines_lost: this.#lost }, "the sensor's log is written again");
      this.#isFailing = false;
      this.#lost = 0;
    } catch (err) {
      if (!this.#isFailing)
        log.warn(
          { err, path },
          "could not write the sensor's log; dropping lines until the disk accepts them",
        );
      this.#lost += lines.length - written;
      this.#retryAtMs = clock.monotonicMs() + RETRY_MS;
      this.#isFailing = true;
      this.close();
    }
  }

  tail(linesMax: number): string[] {
    const files = openLog(this.#options.path);
    try {
      const place = tailStart(files, Math.min(linesMax, TAIL_LINES_MAX));
      const lines = Buffer.concat([...readFrom(files, place)])
        .toString()
        .split("\n");
      if (lines.at(-1) === "") lines.pop();
      return lines;
    } catch {
      return [];
    } finally {
      closeLog(files);
    }
  }

  close(): void {
    if (this.#current === undefined) return;
    closeSync(this.#current.fd);
    this.#current = undefined;
  }

  /** Writes the lines in batches that fit into a file. */
  #writeAll(lines: readonly Uint8Array[], onWritten: (count: number) => void): void {
    let batch: Uint8Array[] = [];
    let batchBytes = 0;
    for (const line of lines) {
      if (this.#sizeBytes + batchBytes + line.length > this.#options.bytesMax) {
        this.#write(batch);
        onWritten(batch.length);
        this.#rotate();
        batch = [];
        batchBytes = 0;
      }
      batch.push(line);
      batchBytes += line.length;
    }
    this.#write(batch);
    onWritten(batch.length);
  }

  /** Writes all lines or none: half a line would corrupt the next one. */
  #write(lines: readonly Uint8Array[]): void {
    if (lines.length === 0) return;
    const bytes = lines.length === 1 ? lines[0]! : Buffer.concat(lines);
    const { fd } = this.#current!;
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(fd, bytes, written);
    } catch (error) {
      ftruncateSync(fd, this.#sizeBytes);
      throw error;
    }
    this.#sizeBytes += bytes.length;
  }

  /** Ensures that the file at the path is open and ours, and updates its size, even if it was changed from outside. */
  #open(): void {
    const { path } = this.#options;
    const there = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (this.#current !== undefined && there?.ino === this.#current.inode) {
      this.#sizeBytes = Number(there.size);
      return;
    }
    this.close();
    if (there === undefined) this.#makeDir();
    this.#adopt(openOwn(path));
  }

  #adopt(fd: number): void {
    const stat = fstatSync(fd, { bigint: true });
    this.#current = { fd, inode: stat.ino };
    this.#sizeBytes = Number(stat.size);
    if (this.#sizeBytes === 0) return;
    const [last] = readAt(fd, this.#sizeBytes - 1, 1);
    if (last === LF) return;
    // The file was truncated in the middle of a line.
    if (this.#sizeBytes >= this.#options.bytesMax) this.#rotate();
    else this.#write([new Uint8Array([LF])]);
  }

  #rotate(): void {
    const { path, files } = this.#options;
    this.close();
    if (files === 1) rmSync(path, { force: true });
    for (let age = files - 1; age > 0; age--) {
      try {
        renameSync(rotatedPath(path, age - 1), rotatedPath(path, age));
      } catch (error) {
        // There may be fewer files.
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      }
    }
    this.#adopt(openOwn(path));
  }

  #makeDir(): void {
    const dir = dirname(this.#options.path);
    mkdirSync(dir, { recursive: true, mode: DIR_MODE });
    if (!lstatSync(dir).isDirectory()) throw new Error(`${dir} is not a directory`);
  }

  /** Removes files that only an earlier config kept. */
  #removeBeyond(files: number): void {
    const { path } = this.#options;
    const prefix = `${basename(path)}.`;
    try {
      for (const name of readdirSync(dirname(path)))
        if (name.startsWith(prefix) && Number(name.slice(prefix.length)) >= files)
          rmSync(join(dirname(path), name), { force: true });
    } catch {
      // There is no directory yet, or the files can't be removed; neither affects logging.
    }
  }

  #lossLine(): Uint8Array {
    const time = new Date(this.#options.clock.nowMs()).toISOString();
    return new TextEncoder().encode(`${time} * ${this.#lost} lines could not be written here\n`);
  }
}

/** Opens or creates the file. Anything else under its name (a link, a pipe, a second name of a file) is removed first. */
function openOwn(path: string): number {
  try {
    const fd = openSync(path, WRITE_FLAGS, FILE_MODE);
    const stat = fstatSync(fd);
    if (stat.isFile() && stat.nlink === 1) return fd;
    closeSync(fd);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ELOOP" && code !== "ENXIO") throw error;
  }
  unlinkSync(path);
  return openSync(path, WRITE_FLAGS | constants.O_EXCL, FILE_MODE);
}
