/** Checks that the state directory is writable and durable, by a file that is removed again. (A9, A14) */
import { constants } from "node:fs";
import { access, open, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DEFAULT_STATE_DIR } from "../state/state-dir.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** With less than this, one of the next writes may fail. */
const FREE_BYTES_MIN = 16 * 1024 ** 2;
const FREE_INODES_MIN = 64;
const OTHERS_WRITE = 0o002;
/** File systems (statfs(2) f_type) whose content is lost with the container or at a reboot. */
const TRANSIENT = new Map([
  [0x01021994, "tmpfs"],
  [0x858458f6, "ramfs"],
  [0x794c7630, "overlay"],
]);
const VOLUME = "mount a volume";

/** `explicit` is the directory of the flag or variable. Never rejects, and leaves no file behind. */
export async function checkStateDir(explicit: string | undefined): Promise<Check[]> {
  const path = resolve(explicit ?? DEFAULT_STATE_DIR);
  const isNamed = explicit !== undefined;
  let mode: number;
  try {
    const stats = await stat(path);
    ({ mode } = stats);
    if (!stats.isDirectory())
      return [fail("state_dir", "is not a directory", "Name a directory", { subject: path })];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      return isNamed ? missing(path) : [none(path)];
    return [await unusable(path, error as NodeJS.ErrnoException, isNamed)];
  }
  try {
    await tryToWrite(path);
    const found = await describe(path, "can be written");
    return (mode & OTHERS_WRITE) === 0 ? found : [...found, openToAll(path, mode)];
  } catch (error) {
    return [await unusable(path, error as NodeJS.ErrnoException, isNamed)];
  }
}

/** Writes as the agent does: a new file, synced and renamed. */
async function tryToWrite(dir: string): Promise<void> {
  // Not the process id, which repeats in every container: a file left by a killed doctor must not block the next one.
  const probe = join(dir, `.doctor-${crypto.randomUUID()}`);
  const renamed = `${probe}.done`;
  try {
    const file = await open(probe, "wx", 0o600);
    try {
      await file.writeFile("can this be kept?\n");
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(probe, renamed);
  } finally {
    await Promise.all([rm(probe, { force: true }), rm(renamed, { force: true })]);
  }
}

/** Describes the file system of `path`, which exists; `subject` may be a missing directory below it. */
async function describe(path: string, found: string, subject = path): Promise<Check[]> {
  const { type, bavail, bsize, files, ffree } = await statfs(path);
  const freeBytes = bavail * bsize;
  const fleeting = TRANSIENT.get(type);
  const data = {
    free_bytes: freeBytes,
    free_inodes: files === 0 ? null : ffree,
    fleeting: fleeting ?? null,
  };
  const details = { subject, data };
  const room = `${(freeBytes / 1024 ** 2).toFixed(0)} MiB free`;
  if (freeBytes < FREE_BYTES_MIN)
    return [
      warn("state_dir", `${found}, but only ${room}`, "Free some space, or enlarge it", details),
    ];
  // File systems without a fixed number of inodes report 0 of 0.
  if (files > 0 && ffree < FREE_INODES_MIN)
    return [warn("state_dir", `${found}, but only ${ffree} inodes free`, "Remove files", details)];
  if (fleeting === undefined) return [ok("state_dir", `${found}, ${room}`, details)];
  return [
    warn(
      "state_dir",
      `${found}, ${room}, but on ${fleeting}: it does not survive the container`,
      `To keep this node's identity, ${VOLUME} at ${subject}`,
      details,
    ),
  ];
}

/** The agent creates a missing configured directory, which needs a writable directory above it. */
async function missing(path: string): Promise<Check[]> {
  let above = dirname(path);
  for (;;) {
    try {
      await access(above, constants.W_OK | constants.X_OK);
      return await describe(above, "does not exist yet; the agent will create it", path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || above === dirname(above))
        return [await unusable(above, error as NodeJS.ErrnoException, true, path)];
      above = dirname(above);
    }
  }
}

function none(path: string): Check {
  return warn(
    "state_dir",
    "does not exist: identity and logs are in memory only, and an unnamed node uses its host name as id",
    `To keep them, ${VOLUME} at ${path}, or name a directory with --state-dir or FLEET_STATE_DIR`,
    { subject: path },
  );
}

/** Describes a system error. It is a failure for a configured directory, but only a warning for the default one. */
async function unusable(
  path: string,
  { code = "", syscall = "", message }: NodeJS.ErrnoException,
  isNamed: boolean,
  subject = path,
): Promise<Check> {
  const complain = isNamed ? fail : warn;
  const data = { code, syscall };
  if (code === "EROFS")
    return complain(
      "state_dir",
      `${path} is on a read-only file system`,
      `Mount a volume at ${subject}`,
      { subject, data },
    );
  if (code === "ENOSPC" || code === "EDQUOT")
    return complain(
      "state_dir",
      `no space left (${code} at ${syscall})`,
      "Free some space, or enlarge it",
      { subject, data },
    );
  if (code === "ENOTDIR")
    return complain("state_dir", `${path} is not a directory`, "Name a directory", {
      subject,
      data,
    });
  if (code !== "EACCES" && code !== "EPERM")
    return complain(
      "state_dir",
      `can't be used: ${code || message} at ${syscall}`,
      "Use another directory",
      { subject, data },
    );
  const uid = process.getuid?.() ?? -1;
  const owner = await stat(path).catch(() => undefined);
  const whose =
    owner === undefined
      ? `${path} can't be reached`
      : `${path} belongs to uid ${owner.uid} (mode 0${(owner.mode & 0o7777).toString(8)}) and can't be written`;
  const remedy =
    path === subject
      ? `chown ${uid} ${path}, or run as its owner (Kubernetes: securityContext.fsGroup)`
      : `Mount a volume at ${subject}, or create it for uid ${uid}`;
  return complain("state_dir", `${whose} by uid ${uid}`, remedy, {
    subject,
    data: { ...data, owner: owner?.uid ?? null, uid },
  });
}

function openToAll(path: string, mode: number): Check {
  return warn(
    "state_dir",
    `every user may write to it (mode 0${(mode & 0o7777).toString(8)}), including sensors with another uid`,
    `chmod o-w ${path}`,
    { subject: path },
  );
}
