/**
 * `fleet-agent install DIR`: copies this program to DIR/fleet-agent, in a directory shared with other containers. (A2)
 *
 * Steps: remove leftovers → stop if the same file is there → copy to a file beside the target → read it back → fsync → run it →
 * rename → fsync the directory. DIR/fleet-agent is always the old file or the complete new one, whenever a run is killed and
 * however many run at once; a running old copy is not affected. Nothing is written anywhere else.
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

/** What to install, and where. */
export interface InstallRequest {
  readonly dir: string;
  /** Permissions of the file, regardless of the umask. */
  readonly mode: number;
  /** The program's own file; by default a link that stays valid even if the file is replaced or removed. */
  readonly source?: string;
  /** The expected output of `--version --json`. */
  readonly expected: string;
  readonly clock: Clock;
}

/** The installed file. */
export interface Installed extends Digest {
  readonly at: "installed" | "already_installed";
  readonly path: string;
}

const NAME = "fleet-agent";
const SELF = "/proc/self/exe";
const PERMISSIONS = 0o7777;
const STICKY = 0o1000;
/** Neither blocks on a pipe nor follows a link, if the path has become one. */
const READ_PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Resolves once the file is installed and durable. Throws `InstallError`, and then leaves the directory as it was. */
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
    syncDirectory(dirFd); // The run that renamed it may have been killed before it could do this.
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

/** Copies, syncs and reads back; closes the file, so that it can be run. */
async function fill(staged: StagedFile, source: FileHandle, dir: string): Promise<Digest> {
  const { file } = staged;
  try {
    const read = await copyHashed(source, file);
    await file.sync();
    const written = await hashFile(file);
    if (written.sha256 === read.sha256) return read;
    throw new InstallError(
      "corrupted",
      `${dir}: the copy differs when read back (sha256 ${written.sha256.slice(0, 12)}, not ${read.sha256.slice(0, 12)}); check the disk, and whether another process writes there`,
    );
  } finally {
    await file.close();
  }
}

/** The digest of the file at `path` if it is this program with this mode. A file that can't be read counts as different. */
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
      `${dir}: this program can't read its own file (${source}): ${(error as Error).message}; mount /proc, and allow uid ${ourUid()} to read the program`,
      error,
    );
  }
}

/** Some file systems do not support fsync of directories. Any other error means that the rename may not be durable. */
function syncDirectory(dirFd: number): void {
  try {
    fsyncSync(dirFd);
  } catch (error) {
    if (!["EINVAL", "ENOTSUP", "ENOSYS", "EROFS"].includes((error as { code: string }).code))
      throw error;
  }
}

/** The owner to name is that of the directory or, for a rename in a sticky directory, that of the existing file. */
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
