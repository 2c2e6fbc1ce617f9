/**
 * `fleet-agent install DIR`: puts this program into a directory that other containers share, as DIR/fleet-agent. (A2)
 *
 * Order: look (done when the same file is there) → remove leftovers → copy to a file beside the target → read it back → fsync
 * → run it → rename → fsync the directory. Whoever reads DIR/fleet-agent finds the old file or the whole new one, whatever
 * is killed when, and however many run at once; a running old copy goes on. Nothing is written anywhere else.
 */
import {
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  statfsSync,
  statSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@fleet/daemon/clock";
import { failureOf, InstallError, type Place } from "./failure.ts";
import { copyHashed, type Digest, hashFile } from "./file-copy.ts";
import { isNoexec } from "./mount-flags.ts";
import { removeLeftovers, type StagedFile, stageFile } from "./staged-file.ts";
import { tryRun } from "./trial-run.ts";

/** What to install where. */
export interface InstallRequest {
  readonly dir: string;
  /** Permissions of the file, whatever the umask. */
  readonly mode: number;
  /** The program's own file. The link stays right when that is replaced or removed while it runs. */
  readonly source?: string;
  /** What the program prints for `--version --json`. */
  readonly expected: string;
  readonly clock: Clock;
}

/** What is there now. */
export interface Installed extends Digest {
  readonly at: "installed" | "already_installed";
  readonly path: string;
}

const NAME = "fleet-agent";
const SELF = "/proc/self/exe";
const PERMISSIONS = 0o7777;
const STICKY = 0o1000;
/** A path that became a pipe or a link meanwhile must neither block nor lead elsewhere. */
const READ_PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Resolves when the file is there and durable; throws `InstallError`, having left nothing but what was there before. */
export async function install(request: InstallRequest): Promise<Installed> {
  const { dir } = request;
  const source = await openSource(request);
  let dirFd: number | undefined;
  try {
    dirFd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
    return await installInto(dirFd, source, request);
  } catch (error) {
    if (error instanceof InstallError || !isErrno(error)) throw error;
    throw failureOf(error, describePlace(dir, (await source.stat()).size, error.syscall));
  } finally {
    if (dirFd !== undefined) closeSync(dirFd);
    await source.close();
  }
}

async function installInto(
  dirFd: number,
  source: FileHandle,
  request: InstallRequest,
): Promise<Installed> {
  const { dir, mode, clock } = request;
  const path = join(dir, NAME);
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
    throw new InstallError(
      "target_is_directory",
      `${path} is a directory; remove it or install elsewhere`,
    );
  removeLeftovers(dir, clock);
  const there = await sameFileAt(path, source, mode);
  if (there !== undefined) {
    syncDirectory(dirFd); // The run that renamed it may have been killed before it could.
    return { at: "already_installed", path, ...there };
  }
  const staged = await stageFile(dir, mode);
  try {
    const digest = await fill(staged, source, dir);
    await tryRun({
      path: staged.path,
      expected: request.expected,
      dir,
      isNoexec: () => isNoexec(dirFd),
      clock,
    });
    renameSync(staged.path, path);
    staged.release();
    syncDirectory(dirFd);
    return { at: "installed", path, ...digest };
  } finally {
    staged.discard();
  }
}

/** Copies, reads back and makes durable; leaves the file closed for writing, so that it can be run. */
async function fill(staged: StagedFile, source: FileHandle, dir: string): Promise<Digest> {
  const { file } = staged;
  try {
    const read = await copyHashed(source, file);
    await file.sync();
    const written = await hashFile(file);
    if (written.sha256 === read.sha256) return read;
    throw new InstallError(
      "corrupted",
      `${dir}: the copy reads back different (sha256 ${written.sha256.slice(0, 12)}, not ${read.sha256.slice(0, 12)}); check the disk and who else writes there`,
    );
  } finally {
    await file.close();
  }
}

/** The digest of the file at `path` when it is this very program with this mode. One that can't be read is another. */
async function sameFileAt(
  path: string,
  source: FileHandle,
  mode: number,
): Promise<Digest | undefined> {
  let target: FileHandle | undefined;
  try {
    target = await open(path, READ_PLAIN);
    const stat = await target.stat();
    if (!stat.isFile() || (stat.mode & PERMISSIONS) !== mode) return undefined;
    if (stat.size !== (await source.stat()).size) return undefined;
    const [theirs, ours] = [await hashFile(target), await hashFile(source)];
    return theirs.sha256 === ours.sha256 ? theirs : undefined;
  } catch {
    return undefined;
  } finally {
    await target?.close();
  }
}

async function openSource({ dir, source = SELF }: InstallRequest): Promise<FileHandle> {
  try {
    return await open(source, "r");
  } catch (error) {
    throw new InstallError(
      "io",
      `${dir}: this program can't read itself (${source}): ${(error as Error).message}; mount /proc, and let uid ${ourUid()} read the program`,
      error,
    );
  }
}

/** Some file systems know no fsync of directories; where it fails otherwise, the rename is not known to be durable. */
function syncDirectory(dirFd: number): void {
  try {
    fsyncSync(dirFd);
  } catch (error) {
    if (!["EINVAL", "ENOTSUP", "ENOSYS", "EROFS"].includes((error as { code: string }).code))
      throw error;
  }
}

/** What may not be written is the directory, or, in a sticky one, the file of somebody else there. */
function describePlace(dir: string, neededBytes: number, syscall: string | undefined): Place {
  const target = join(dir, NAME);
  const owner = quietly(() => {
    const stat = statSync(dir);
    const isTheirs = syscall === "rename" && (stat.mode & STICKY) !== 0;
    const { uid, mode } = isTheirs ? lstatSync(target) : stat;
    return { path: isTheirs ? target : dir, uid, mode: mode & PERMISSIONS };
  });
  const freeBytes = quietly(() => {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize;
  });
  return { dir, neededBytes, freeBytes, owner, ourUid: ourUid() };
}

function ourUid(): number {
  return process.geteuid?.() ?? -1;
}

function quietly<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function isErrno(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === "string";
}
