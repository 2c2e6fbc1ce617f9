/**
 * `fleet-coordinator restore FILE`: replaces the database and its keys by a backup's. Checks the file before it changes
 * anything, and moves the previous files aside instead of deleting them. (H10)
 *
 * Epochs and tracker runs issued since the backup are unknown to it. New ones begin far above them, so that no number is
 * issued twice: superseded instances stay superseded, and track files distinguish runs. (R9, T5)
 */
import { Database } from "bun:sqlite";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  asBackupError,
  BACKUP_TABLES,
  type BackupContents,
  BackupError,
  KEY_FILE,
  type KeyFile,
  readBackup,
  readKeys,
  sync,
} from "./backup.ts";
import { DATABASE_FILE, FILE_MODE, giveToOwner, RESTORING_FILE, takeDataDir } from "./data-dir.ts";
import { checkSchema, migrate } from "./migrations.ts";

/** More numbers than a node or tracker uses between two backups: one a second for 12 days. */
const NUMBERS_SKIPPED = 2 ** 20;

const ASIDE = "replaced-";

/** What to restore where. */
export interface RestoreOptions {
  readonly file: string;
  readonly dataDir: string;
  /** Replace an existing database. */
  readonly force: boolean;
  readonly nowMs: number;
}

/** The contents restored, and the directory of the previous files if there were any. */
export interface Restored extends BackupContents {
  readonly movedTo: string | undefined;
}

/**
 * Restores a backup. After a restore that was interrupted no coordinator starts on the directory until it is run again. Throws
 * BackupError, DatabaseDamagedError, DatabaseTooNewError, and DataDirError if a coordinator uses the directory.
 */
export function restore({ file, dataDir, force, nowMs }: RestoreOptions): Restored {
  const contents = readBackup(file);
  checkSchema(contents.schema, file);
  using _lock = takeDataDir(dataDir);
  const hasDatabase = existsSync(join(dataDir, DATABASE_FILE));
  if (hasDatabase && !force)
    throw new BackupError(
      `${dataDir} holds a database; use --force to move it aside and restore the backup`,
    );
  try {
    const isResumed = !hasDatabase && existsSync(join(dataDir, RESTORING_FILE));
    const keys = stage(file, dataDir);
    const movedTo = moveAside(dataDir, nowMs, isResumed);
    for (const { name, bytes } of keys) writeKey(dataDir, name, bytes);
    // Last, because without this file no coordinator starts here.
    renameSync(join(dataDir, RESTORING_FILE), join(dataDir, DATABASE_FILE));
    sync(dataDir);
    return { ...contents, movedTo };
  } catch (error) {
    throw asBackupError(dataDir, error);
  }
}

/** Prepares the database as RESTORING_FILE. Returns the backup's keys. */
function stage(file: string, dataDir: string): KeyFile[] {
  const staged = join(dataDir, RESTORING_FILE);
  for (const suffix of ["", "-journal"]) rmSync(`${staged}${suffix}`, { force: true });
  copyFileSync(file, staged);
  chmodSync(staged, FILE_MODE);
  const sqlite = new Database(staged, { strict: true });
  let keys: KeyFile[];
  try {
    keys = readKeys(sqlite);
    for (const table of BACKUP_TABLES) sqlite.run(`DROP TABLE ${table}`);
    sqlite.run("PRAGMA application_id = 0");
    migrate(sqlite);
    skipNumbers(sqlite);
  } finally {
    sqlite.close();
  }
  giveToOwner(dataDir, staged);
  sync(staged);
  return keys;
}

function skipNumbers(sqlite: Database): void {
  sqlite.run("UPDATE trackers SET run = run + ?", [NUMBERS_SKIPPED]);
  // The rows keep their epochs, so that a running instance with one of them continues.
  sqlite.run(
    `INSERT INTO registry_state (id, uptime_ms, epoch_floor)
       VALUES (1, 0, ?1 + (SELECT coalesce(max(epoch), 0) FROM known_nodes))
       ON CONFLICT DO UPDATE SET epoch_floor = max(epoch_floor + ?1, excluded.epoch_floor)`,
    [NUMBERS_SKIPPED],
  );
}

/** Moves the previous files into a new directory and returns it; undefined if there are none. */
function moveAside(dataDir: string, nowMs: number, isResumed: boolean): string | undefined {
  // The database first, because without it no coordinator starts. Its log must go too, or the new database would read it.
  const database = ["", "-wal", "-shm"].map((suffix) => `${DATABASE_FILE}${suffix}`);
  const there = readdirSync(dataDir);
  const old = [...database, ...there.filter((name) => KEY_FILE.test(name))].filter((name) =>
    there.includes(name),
  );
  const begun = there.filter((name) => name.startsWith(ASIDE)).toSorted();
  const resumed = isResumed ? begun.at(-1) : undefined;
  if (old.length === 0) return resumed && join(dataDir, resumed);
  const aside = join(dataDir, resumed ?? `${ASIDE}${nowMs}`);
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  giveToOwner(dataDir, aside);
  // A file that is already there was moved by an interrupted restore; the one in its place comes from the backup.
  for (const name of old)
    if (!existsSync(join(aside, name))) renameSync(join(dataDir, name), join(aside, name));
  sync(aside);
  return aside;
}

function writeKey(dataDir: string, name: string, bytes: Uint8Array): void {
  const path = join(dataDir, name);
  const staged = `${path}.new`;
  rmSync(staged, { force: true });
  writeFileSync(staged, bytes, { flag: "wx", mode: FILE_MODE });
  giveToOwner(dataDir, staged);
  sync(staged);
  renameSync(staged, path);
}
