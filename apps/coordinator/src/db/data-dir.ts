/**
 * Creates the data directory and locks it for one process at a time. `serve` holds the lock until it ends, `restore` while it
 * works; `backup` reads without it.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { accessSync, chownSync, constants, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileProblem } from "@fleet/daemon";

/** The database. */
export const DATABASE_FILE = "coordinator.db";
/** The database that `restore` has prepared and renames last. */
export const RESTORING_FILE = "coordinator.db.restoring";
const LOCK_FILE = "coordinator.lock";
const DIR_MODE = 0o700;
/** The mode of databases, backups and keys: whoever reads one can impersonate a node or the coordinator. */
export const FILE_MODE = 0o600;

/** Keeps the locks from being garbage collected, which would release them. */
const HELD = new Set<Database>();

/** The data directory can't be used. `data_dir_in_use`: another process has locked it. */
export class DataDirError extends Error {
  readonly code: "data_dir" | "data_dir_in_use";

  constructor(code: DataDirError["code"], message: string, cause?: unknown) {
    super(`data directory ${message}`, { cause });
    this.code = code;
  }
}

/**
 * Creates the directory if it is missing, and locks it. The lock is SQLite's own, on an empty file, so it works wherever the
 * database does, also between containers. It ends with the process, however that ends, and children don't inherit it.
 * Disposing of the result releases it. Throws DataDirError.
 */
export function takeDataDir(dataDir: string): Disposable {
  let lock: Database | undefined;
  try {
    mkdirSync(dataDir, { recursive: true, mode: DIR_MODE });
    // SQLite's error would not name the reason.
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
    const path = join(dataDir, LOCK_FILE);
    lock = new Database(path, { create: true });
    // The transaction never ends, so it needs no journal file.
    lock.run("PRAGMA journal_mode = OFF");
    lock.run("BEGIN EXCLUSIVE");
    giveToOwner(dataDir, path);
    const held = lock;
    HELD.add(held);
    const release = (): void => {
      HELD.delete(held);
      held.close();
    };
    return { [Symbol.dispose]: release };
  } catch (cause) {
    lock?.close();
    if (cause instanceof SQLiteError && cause.code === "SQLITE_BUSY")
      throw new DataDirError(
        "data_dir_in_use",
        `${dataDir} is in use by another coordinator`,
        cause,
      );
    throw new DataDirError("data_dir", fileProblem(dataDir, cause), cause);
  }
}

/** Gives a file that root created to the directory's owner, because the coordinator that runs as that user must read it. */
export function giveToOwner(dataDir: string, path: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = statSync(dataDir);
  if (uid !== 0) chownSync(path, uid, gid);
}
