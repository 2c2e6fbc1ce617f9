/**
 * Keeps a state directory for one agent at a time: a second one would end the first one's sensors as leftovers and take its
 * node over. Called by run.ts, before anything in the directory is read. (A14)
 */
import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Log } from "@fleet/daemon";
import { tryLock } from "./file-lock.ts";

const LOCK_FILE = "agent.lock";
const FILE_MODE = 0o600;
const HOLDER_CHARS_MAX = 200;

/** Another agent has the state directory. */
export class StateDirInUseError extends Error {
  readonly code = "state_dir_in_use";
}

/**
 * Takes `stateDir` for as long as this process lives, however it ends. Throws StateDirInUseError. Where the file system has no
 * locks, or the file can't be written, the agent goes on without.
 */
export function takeStateDir(stateDir: string, hostname: string, log: Log): void {
  const path = join(stateDir, LOCK_FILE);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, FILE_MODE);
  } catch (err) {
    log.warn({ err, path }, "nothing keeps a second agent from this state directory");
    return;
  }
  const attempt = tryLock(fd);
  if (attempt === "busy") {
    const holder = readFileSync(fd, "latin1")
      .slice(0, HOLDER_CHARS_MAX)
      .replaceAll(/[^ -~]/g, "");
    closeSync(fd);
    throw new StateDirInUseError(
      `the state directory ${stateDir} is in use by another agent (${holder}); each agent needs one of its own (--state-dir)`,
    );
  }
  if (attempt === "unsupported")
    log.warn({ path }, "nothing keeps a second agent from this state directory");
  try {
    ftruncateSync(fd);
    writeSync(fd, `pid ${process.pid} on ${hostname}`, 0);
  } catch {
    // A full disk: who holds it is not told then.
  }
}
