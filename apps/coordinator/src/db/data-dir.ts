/**
 * The data directory: made, looked at, and held by one process at a time. Used by `serve`, which has it until it ends, and by
 * `restore`; `backup` reads beside the one that has it. (DESIGN §7)
 */
import { Database, SQLiteError } from "bun:sqlite";
import { accessSync, chownSync, constants, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileProblem } from "@fleet/daemon";

/** The database's name in the directory. */
export const DATABASE_FILE = "coordinator.db";
/** What `restore` puts in its place last of all. */
export const RESTORING_FILE = "coordinator.db.restoring";
const LOCK_FILE = "coordinator.lock";
const DIR_MODE = 0o700;
/** Of a database, its backup and a key: each lets its reader pass for a node, or for the coordinator. */
export const FILE_MODE = 0o600;

/** One that nobody refers to any more would be collected, and its lock with it. */
const HELD = new Set<Database>();

/** The data directory can't be used. `data_dir_in_use`: by this process, until the other has ended. */
export class DataDirError extends Error {
  readonly code: "data_dir" | "data_dir_in_use";

  constructor(code: DataDirError["code"], message: string, cause?: unknown) {
    super(`data directory ${message}`, { cause });
    this.code = code;
  }
}

/**
 * Makes the directory where it is missing, and takes it. The lock is one of SQLite's own, on an empty file, so it holds wherever the database may lie,
 * between containers as well as between processes; it ends with the process, however that ends, and no child inherits it.
 * Closing what is given gives it back. Throws DataDirError.
 */
export function takeDataDir(dataDir: string): Disposable {
  let lock: Database | undefined;
  try {
    mkdirSync(dataDir, { recursive: true, mode: DIR_MODE });
    // SQLite would say no more than that it can't open a file.
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
    const path = join(dataDir, LOCK_FILE);
    lock = new Database(path, { create: true });
    // A transaction without an end, so no journal beside it either.
    lock.run("PRAGMA journal_mode = OFF");
    lock.run("BEGIN EXCLUSIVE");
    giveToOwner(dataDir, path);
    const held = lock;
    HELD.add(held);
    const giveBack = (): void => {
      HELD.delete(held);
      held.close();
    };
    return { [Symbol.dispose]: giveBack };
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

/** What root makes in the directory belongs to whom the directory belongs to: the coordinator that runs as that user has to read it. */
export function giveToOwner(dataDir: string, path: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = statSync(dataDir);
  if (uid !== 0) chownSync(path, uid, gid);
}
