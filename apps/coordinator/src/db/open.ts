/** Opens the coordinator's database: one file, one coordinator, every commit on disk before it is answered. (R1, DESIGN §7) */
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import { fileProblem } from "@fleet/daemon";
import { DatabaseDamagedError, isDamage, structuralDamage, unreadableValue } from "./damage.ts";
import { DATABASE_FILE, DataDirError, FILE_MODE, RESTORING_FILE, takeDataDir } from "./data-dir.ts";
import { migrate } from "./migrations.ts";
import * as schema from "./schema.ts";

/** A data directory that keeps nothing, for trials. */
export const MEMORY = ":memory:";

/** The typed database. */
export type Db = BunSQLiteDatabase<typeof schema> & { readonly $client: Database };

/** An open database and how to close it. */
export interface OpenedDb {
  readonly db: Db;
  close(): void;
}

/** A backup that begins at the same moment may hold the file for an instant. */
const OPEN_WAIT_MS = 5000;

/**
 * Opens (and creates, checks and migrates) `DIR/coordinator.db`, or a database in memory for `:memory:`. Throws DataDirError,
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
      // One file then holds all of it, for whoever copies or mends it by hand.
      sqlite.run("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch {
      // The disk is full, most likely: the next start finds it in the write-ahead log.
    }
    sqlite.close();
    unlock();
  };
  return { db: drizzle(sqlite, { schema }), close };
}

function openFile(dataDir: string): Database {
  const path = join(dataDir, DATABASE_FILE);
  if (!existsSync(path) && existsSync(join(dataDir, RESTORING_FILE)))
    throw new DataDirError("data_dir", `${dataDir}: a restore was cut short; run it again`);
  const remedy =
    `put a backup back (fleet-coordinator restore FILE --data-dir ${dataDir} --force), or move it away: ` +
    "agents that may enrol come back by themselves, what else it knew is forgotten";
  let sqlite: Database | undefined;
  try {
    // SQLite gives its other files the mode of this one.
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
  // A file that can't be written shows here.
  sqlite.run("BEGIN IMMEDIATE");
  sqlite.run("COMMIT");
  // Nobody else writes; who does it anyway is not waited for.
  sqlite.run("PRAGMA busy_timeout = 0");
}

/**
 * Runs a write that may be undone by a power loss: its commit is not synced, so nobody waits for the disk. It does outlive the
 * process. The next commit that is synced takes it along.
 */
export function unsynced(db: Db, write: () => void): void {
  db.$client.run("PRAGMA synchronous = NORMAL");
  try {
    write();
  } finally {
    db.$client.run("PRAGMA synchronous = FULL");
  }
}
