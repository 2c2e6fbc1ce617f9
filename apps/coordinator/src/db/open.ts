/** Opens the coordinator's database: one file, one process, every commit on disk before it is answered. (R1, DESIGN §7) */
import { Database } from "bun:sqlite";
import { accessSync, constants, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import { fileProblem } from "../file-problem.ts";
import { migrate } from "./migrations.ts";
import * as schema from "./schema.ts";

/** A data directory that keeps nothing, for trials. */
export const MEMORY = ":memory:";

/** The typed database. */
export type Db = BunSQLiteDatabase<typeof schema> & { readonly $client: Database };

/** Another coordinator holds the data directory, or it can't be written. */
export class DataDirError extends Error {
  readonly code = "data_dir";
}

/** An open database and how to close it. */
export interface OpenedDb {
  readonly db: Db;
  close(): void;
}

/**
 * Opens (and creates, and migrates) `DIR/coordinator.db`, or a database in memory for `:memory:`. SQLite's exclusive
 * locking mode holds the file until this process ends, however it ends, so two coordinators never share a directory.
 */
export function openDb(dataDir: string): OpenedDb {
  const sqlite = open(dataDir);
  try {
    migrate(sqlite);
  } catch (error) {
    sqlite.close();
    throw error;
  }
  return { db: drizzle(sqlite, { schema }), close: () => sqlite.close() };
}

function open(dataDir: string): Database {
  if (dataDir === MEMORY) return new Database(MEMORY, { strict: true });
  let sqlite: Database | undefined;
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    // SQLite would say no more than that it can't open a file.
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
    sqlite = new Database(join(dataDir, "coordinator.db"), { create: true, strict: true });
    // In exclusive mode the lock is taken by the first write and kept.
    sqlite.run("PRAGMA locking_mode = EXCLUSIVE");
    sqlite.run("PRAGMA journal_mode = WAL");
    sqlite.run("PRAGMA synchronous = FULL");
    sqlite.run("BEGIN IMMEDIATE");
    sqlite.run("COMMIT");
    return sqlite;
  } catch (cause) {
    sqlite?.close();
    const busy = cause instanceof Error && cause.message.includes("locked");
    throw new DataDirError(
      `data directory ${busy ? `${dataDir} is in use by another coordinator` : fileProblem(dataDir, cause)}`,
      { cause },
    );
  }
}
