/**
 * `fleet-coordinator backup FILE`: writes a snapshot of the database and the keys to one file, even while the coordinator
 * runs. The file is an SQLite database of mode 0600: the coordinator's, with two more tables. It appears complete and checked,
 * or not at all. (H10)
 */
import { Database, SQLiteError } from "bun:sqlite";
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileProblem } from "@fleet/daemon";
import { DatabaseDamagedError, isDamage, structuralDamage } from "./damage.ts";
import { DATABASE_FILE, FILE_MODE } from "./data-dir.ts";

/** SQLite's `application_id` of a backup: "FlBk". The coordinator's own database has 0. */
export const BACKUP_ID = 0x466c426b;
/** The tables that only a backup has. */
export const BACKUP_TABLES = ["backup_info", "backup_keys"] as const;
/** The key files beside the database, which a backup includes. */
export const KEY_FILE = /^[a-z0-9_-]{1,64}\.key$/;
/** A larger file is not a key. */
const KEY_BYTES_MAX = 64 * 1024;
const LAST_BACKUP = "use an earlier backup";
const NO_BACKUP = "is not a backup of a fleet-coordinator";

/** A backup can't be written, read or restored. The message names the file. */
export class BackupError extends Error {
  readonly code = "backup";
}

/** The contents of a backup. */
export interface BackupContents {
  readonly bytes: number;
  /** The number of migrations applied to its database. */
  readonly schema: number;
  readonly nodes: number;
  /** Names of key files. */
  readonly keys: readonly string[];
  /** Unix ms. */
  readonly atMs: number;
  /** The version of the program that wrote it. */
  readonly version: string;
}

/** A key file's name and contents. */
export interface KeyFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What to back up where, and the time and version to record. */
export interface BackupOptions {
  readonly dataDir: string;
  readonly file: string;
  readonly nowMs: number;
  readonly version: string;
}

/** Writes a backup. Replaces an existing backup at `file`, but no other file. Throws BackupError, DatabaseDamagedError. */
export function backUp(options: BackupOptions): BackupContents {
  const { dataDir, file } = options;
  const source = join(dataDir, DATABASE_FILE);
  if (!existsSync(source))
    throw new BackupError(
      `there is no ${DATABASE_FILE} in ${dataDir}; name the coordinator's directory with --data-dir`,
    );
  if (existsSync(file) && statSync(file).size > 0) readBackup(file);
  const staged = join(dirname(file), `.${basename(file)}.${process.pid}.tmp`);
  try {
    rmSync(staged, { force: true });
    // SQLite writes into an existing empty file and keeps its mode.
    closeSync(openSync(staged, "wx", FILE_MODE));
    copyDatabase(source, staged);
    addKeys(staged, options);
    const contents = readBackup(staged);
    sync(staged);
    renameSync(staged, file);
    sync(dirname(file));
    return contents;
  } catch (error) {
    throw asBackupError(file, error);
  } finally {
    for (const suffix of ["", "-journal"]) rmSync(`${staged}${suffix}`, { force: true });
  }
}

/** Checks all of a backup and returns its contents. Throws BackupError, DatabaseDamagedError. */
export function readBackup(file: string): BackupContents {
  let sqlite: Database | undefined;
  try {
    const { size: bytes } = statSync(file);
    sqlite = new Database(file, { readonly: true });
    if (pragma(sqlite, "application_id") !== BACKUP_ID)
      throw new BackupError(`${file} ${NO_BACKUP}`);
    const damage = structuralDamage(sqlite, "integrity_check");
    if (damage !== undefined) throw new DatabaseDamagedError(file, damage, LAST_BACKUP);
    const [atMs, version] = sqlite.query("SELECT at_ms, version FROM backup_info").values()[0]!;
    return {
      bytes,
      schema: pragma(sqlite, "user_version") as number,
      nodes: sqlite.query("SELECT count(*) FROM known_nodes").values()[0]![0] as number,
      keys: readKeys(sqlite).map(({ name }) => name),
      atMs: atMs as number,
      version: version as string,
    };
  } catch (error) {
    throw asBackupError(file, error);
  } finally {
    sqlite?.close();
  }
}

/** The key files in an open backup. */
export function readKeys(sqlite: Database): KeyFile[] {
  const rows = sqlite.query("SELECT name, bytes FROM backup_keys ORDER BY name").values();
  return (rows as [string, Uint8Array][]).map(([name, bytes]) => {
    if (!KEY_FILE.test(name))
      throw new BackupError(`the backup holds a key with the invalid name ${JSON.stringify(name)}`);
    return { name, bytes };
  });
}

/** Makes a file's contents or a directory's names survive a power loss. */
export function sync(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function copyDatabase(source: string, target: string): void {
  let sqlite: Database | undefined;
  try {
    sqlite = new Database(source, { readonly: true });
    pragma(sqlite, "schema_version");
  } catch (error) {
    sqlite?.close();
    throw asBackupError(source, error);
  }
  try {
    sqlite.run("VACUUM INTO ?", [target]);
  } catch (error) {
    if (!isDamage(error)) throw error;
    throw new DatabaseDamagedError(source, error.message, LAST_BACKUP, error);
  } finally {
    sqlite.close();
  }
}

function addKeys(staged: string, { dataDir, nowMs, version }: BackupOptions): void {
  const sqlite = new Database(staged);
  try {
    sqlite.transaction(() => {
      sqlite.run("CREATE TABLE backup_info (at_ms INTEGER NOT NULL, version TEXT NOT NULL)");
      sqlite.run("CREATE TABLE backup_keys (name TEXT PRIMARY KEY NOT NULL, bytes BLOB NOT NULL)");
      sqlite.run("INSERT INTO backup_info VALUES (?, ?)", [nowMs, version]);
      for (const name of readdirSync(dataDir).filter((entry) => KEY_FILE.test(entry))) {
        const path = join(dataDir, name);
        if (statSync(path).size > KEY_BYTES_MAX)
          throw new BackupError(
            `${path} is too large for a key; move it out of the data directory`,
          );
        sqlite.run("INSERT INTO backup_keys VALUES (?, ?)", [name, readFileSync(path)]);
      }
      sqlite.run(`PRAGMA application_id = ${BACKUP_ID}`);
    })();
  } finally {
    sqlite.close();
  }
}

function pragma(sqlite: Database, name: string): unknown {
  return sqlite.query(`PRAGMA ${name}`).values()[0]?.[0];
}

/** Turns an error caused by `file` into one that the user can fix; returns any other error unchanged. */
export function asBackupError(file: string, error: unknown): unknown {
  if (error instanceof BackupError || error instanceof DatabaseDamagedError) return error;
  if (isDamage(error) && error.code !== "SQLITE_NOTADB")
    return new DatabaseDamagedError(file, error.message, LAST_BACKUP, error);
  if (isDamage(error)) return new BackupError(`${file} ${NO_BACKUP}`, { cause: error });
  const isExpected =
    error instanceof SQLiteError || (error as NodeJS.ErrnoException).errno !== undefined;
  return isExpected ? new BackupError(fileProblem(file, error), { cause: error }) : error;
}
