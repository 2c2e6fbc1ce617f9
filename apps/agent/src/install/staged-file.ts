/**
 * The temporary file of a copy, `.fleet-agent.<16 hex>.tmp` beside its target. Its owner holds its lock (file-lock.ts) until the
 * file is renamed or removed; a file whose lock is free was left behind by a killed run. (A2)
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  unlinkSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@fleet/daemon/clock";
import { tryLock } from "../state/file-lock.ts";

const NAME = /^\.fleet-agent\.[0-9a-f]{16}\.tmp$/;
/** The most leftovers and directory entries that one run examines; the next run continues. */
const LEFTOVERS_MAX = 64;
const ENTRIES_MAX = 10_000;
/** On a file system without locks, only a file this old counts as left behind: no install takes this long. */
const UNLOCKED_AGE_MS = 3_600_000;
/** Another run may lock a new file just before its owner does, and remove it as a leftover. */
const CREATE_TRIES_MAX = 16;

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** A new, empty, locked file. */
export interface StagedFile {
  readonly path: string;
  /** Open for reading and writing. Close it before the file is run (ETXTBSY); the lock remains. */
  readonly file: FileHandle;
  /** Releases the lock, after the file was renamed or removed. */
  release(): void;
  /** Removes the file and releases the lock. May be called at any time, also twice. */
  discard(): void;
}

/** Creates a file in `dir` with this mode, regardless of the umask. Throws system errors. */
export async function stageFile(dir: string, mode: number): Promise<StagedFile> {
  for (let tries = 1; ; tries++) {
    const staged = await createOnce(dir, mode);
    if (staged !== undefined) return staged;
    if (tries >= CREATE_TRIES_MAX) throw new Error(`a new file in ${dir} is gone ${tries} times`);
  }
}

/**
 * Removes the files that killed runs have left in `dir`, but none that a living run uses. Files that can't be read, locked or
 * removed are ignored. Returns the number of removed files.
 */
export function removeLeftovers(dir: string, clock: Clock): number {
  let removed = 0;
  for (const name of leftoverNames(dir)) if (removeIfLeft(join(dir, name), clock)) removed++;
  return removed;
}

async function createOnce(dir: string, mode: number): Promise<StagedFile | undefined> {
  const name = crypto.getRandomValues(new Uint8Array(8)).toHex();
  const path = join(dir, `.fleet-agent.${name}.tmp`);
  const file = await open(path, CREATE, mode);
  let lockFd: number | undefined;
  try {
    fchmodSync(file.fd, mode);
    lockFd = openSync(path, READ);
    if (tryLock(lockFd) !== "busy" && isAt(path, lockFd)) return stagedFile(path, file, lockFd);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      unlinkQuietly(path);
      await file.close();
      throw error;
    }
  }
  if (lockFd !== undefined) closeSync(lockFd);
  await file.close();
  unlinkQuietly(path);
  return undefined;
}

function stagedFile(path: string, file: FileHandle, lockFd: number): StagedFile {
  let isOurs = true;
  const discard = (): void => {
    if (!isOurs) return;
    unlinkQuietly(path);
    release();
  };
  const release = (): void => {
    if (!isOurs) return;
    isOurs = false;
    process.off("exit", discard);
    closeSync(lockFd);
  };
  process.once("exit", discard);
  return { path, file, release, discard };
}

function leftoverNames(dir: string): readonly string[] {
  const names: string[] = [];
  const entries = opendirSync(dir);
  try {
    for (let seen = 0; seen < ENTRIES_MAX && names.length < LEFTOVERS_MAX; seen++) {
      const entry = entries.readSync();
      if (entry === null) break;
      if (NAME.test(entry.name)) names.push(entry.name);
    }
  } finally {
    entries.closeSync();
  }
  return names;
}

function removeIfLeft(path: string, clock: Clock): boolean {
  let fd: number;
  try {
    fd = openSync(path, READ);
  } catch {
    return false;
  }
  try {
    if (!fstatSync(fd).isFile()) return false;
    const lock = tryLock(fd);
    // If the name now leads elsewhere, the owner has just renamed the file, or another run has removed it.
    const isLeft = lock === "locked" || (lock === "unsupported" && isOld(fd, clock));
    if (!isLeft || !isAt(path, fd)) return false;
    unlinkSync(path);
    return true;
  } catch {
    return false;
  } finally {
    closeSync(fd);
  }
}

function isOld(fd: number, clock: Clock): boolean {
  return clock.nowMs() - fstatSync(fd).mtimeMs > UNLOCKED_AGE_MS;
}

function isAt(path: string, fd: number): boolean {
  const there = lstatSync(path, { throwIfNoEntry: false });
  const here = fstatSync(fd);
  return there !== undefined && there.ino === here.ino && there.dev === here.dev;
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is already gone, or the next run removes it.
  }
}
