/** Opens the coordinator's database: one file, used by one coordinator, with every commit synced to disk. (R1) */
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import { fileProblem } from "@fleet/daemon";
import { DatabaseDamagedError, isDamage, structuralDamage, unreadableValue } from "./damage.ts";
import { DATABASE_FILE, DataDirError, FILE_MODE, RESTORING_FILE, takeDataDir } from "./data-dir.ts";
import { migrate } from "./migrations.ts";
import * as schema from "./schema.ts";

/** The data directory that stores nothing, for trials. */
export const MEMORY = ":memory:";

/** The typed database. */
export type Db = BunSQLiteDatabase<typeof schema> & { readonly $client: Database };

/** An open database and how to close it. */
export interface OpenedDb {
  readonly db: Db;
  close(): void;
}

/** How long to wait for a backup that locks the file at the same moment. */
const OPEN_WAIT_MS = 5000;

/**
 * Opens `DIR/coordinator.db`, or a database in memory for `:memory:`; creates, checks and migrates it. Throws DataDirError,
 * DatabaseDamagedError, DatabaseTooNewError.
 */
export function openDb(dataDir: string): OpenedDb {
  if (dataDir === MEMORY) {
    const sqlite = new Database(MEMORY, { strict: true });
    migrate(sqlite);
    return opened(sqlite, () => {});
  }
  const lock = takeDataDir(dataDir);
  try {
    return opened(openFile(dataDir), () => lock[Symbol.dispose]());
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

function opened(sqlite: Database, unlock: () => void): OpenedDb {
  const close = (): void => {
    try {
      // Afterwards one file holds everything, which is easier to copy by hand.
      sqlite.run("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch {
      // Most likely the disk is full. The next start reads the write-ahead log.
    }
    sqlite.close();
    unlock();
  };
  return { db: drizzle(sqlite, { schema }), close };
}

function openFile(dataDir: string): Database {
  const path = join(dataDir, DATABASE_FILE);
  if (!existsSync(path) && existsSync(join(dataDir, RESTORING_FILE)))
    throw new DataDirError("data_dir", `${dataDir}: a restore was interrupted; run it again`);
  const remedy =
    `restore a backup (fleet-coordinator restore FILE --data-dir ${dataDir} --force), or move it away to start empty: ` +
    "agents then register again by themselves, and everything else is lost";
  let sqlite: Database | undefined;
  try {
    // SQLite creates its other files with the same mode.
    closeSync(openSync(path, "a", FILE_MODE));
    sqlite = new Database(path, { strict: true });
    prepare(sqlite);
    let damage = structuralDamage(sqlite, "quick_check");
    if (damage === undefined) {
      migrate(sqlite);
      damage = unreadableValue(sqlite);
    }
    if (damage !== undefined) throw new DatabaseDamagedError(path, damage, remedy);
    return sqlite;
  } catch (error) {
    sqlite?.close();
    if (isDamage(error)) throw new DatabaseDamagedError(path, error.message, remedy, error);
    if (error instanceof SQLiteError || (error as NodeJS.ErrnoException).errno !== undefined)
      throw new DataDirError("data_dir", fileProblem(dataDir, error), error);
    throw error;
  }
}

function prepare(sqlite: Database): void {
  sqlite.run(`PRAGMA busy_timeout = ${OPEN_WAIT_MS}`);
  sqlite.run("PRAGMA journal_mode = WAL");
  sqlite.run("PRAGMA synchronous = FULL");
  // Fails here if the file can't be written.
  sqlite.run("BEGIN IMMEDIATE");
  sqlite.run("COMMIT");
  // No other process should write, so don't wait for one that does.
  sqlite.run("PRAGMA busy_timeout = 0");
}

/**
 * Runs a write whose commit is not synced, so that it doesn't wait for the disk. It survives the end of the process but maybe
 * not a power loss before the next synced commit.
 */
export function unsynced(db: Db, write: () => void): void {
  db.$client.run("PRAGMA synchronous = NORMAL");
  try {
    write();
  } finally {
    db.$client.run("PRAGMA synchronous = FULL");
  }
}
