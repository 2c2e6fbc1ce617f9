/**
 * Reserves a state directory for one agent: a second one would end the sensors of the first as leftovers and take over its node.
 * Called by run.ts before anything in the directory is read. (A14)
 */
import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Log } from "@fleet/daemon";
import { tryLock } from "./file-lock.ts";

const LOCK_FILE = "agent.lock";
const FILE_MODE = 0o600;
const HOLDER_CHARS_MAX = 200;

/** Another agent is using the state directory. */
export class StateDirInUseError extends Error {
  readonly code = "state_dir_in_use";
}

/**
 * Locks `stateDir` until this process ends, however it ends. Throws StateDirInUseError. If the file system has no locks, or the
 * lock file can't be written, logs a warning and returns.
 */
export function takeStateDir(stateDir: string, hostname: string, log: Log): void {
  const path = join(stateDir, LOCK_FILE);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, FILE_MODE);
  } catch (err) {
    log.warn(
      { err, path },
      "could not lock the state directory: make sure that no other agent uses it",
    );
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
    log.warn({ path }, "could not lock the state directory: make sure that no other agent uses it");
  try {
    ftruncateSync(fd);
    writeSync(fd, `pid ${process.pid} on ${hostname}`, 0);
  } catch {
    // The disk is full; a second agent's error message then lacks our pid.
  }
}
