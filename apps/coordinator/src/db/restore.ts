/**
 * `fleet-coordinator restore FILE`: puts a backup in the place of the database and its keys. The file is checked before
 * anything is touched, and what was there is moved aside, never removed. (H10)
 *
 * Since the backup, nodes have had epochs and trackers runs that it knows nothing of. New ones begin far above, so that no
 * number is given out twice: an instance that was replaced since stays so, and track files tell runs apart. (R9, T5)
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

/** More than a node or a tracker has between two backups: one a second for 12 days. */
const NUMBERS_SKIPPED = 2 ** 20;

const ASIDE = "replaced-";

/** What to put where. */
export interface RestoreOptions {
  readonly file: string;
  readonly dataDir: string;
  /** Also into a directory that holds a database. */
  readonly force: boolean;
  readonly nowMs: number;
}

/** What was put back, and the directory that what was there has been moved to. */
export interface Restored extends BackupContents {
  readonly movedTo: string | undefined;
}

/**
 * Throws BackupError, DataDirError when a coordinator has the directory, DatabaseDamagedError, DatabaseTooNewError. One that was
 * cut short is finished by running it again; no coordinator starts on the directory before that.
 */
export function restore({ file, dataDir, force, nowMs }: RestoreOptions): Restored {
  const contents = readBackup(file);
  checkSchema(contents.schema, file);
  using _lock = takeDataDir(dataDir);
  const hasDatabase = existsSync(join(dataDir, DATABASE_FILE));
  if (hasDatabase && !force)
    throw new BackupError(
      `${dataDir} holds a database; with --force it is moved aside and the backup put in its place`,
    );
  try {
    const isResumed = !hasDatabase && existsSync(join(dataDir, RESTORING_FILE));
    const keys = stage(file, dataDir);
    const movedTo = moveAside(dataDir, nowMs, isResumed);
    for (const { name, bytes } of keys) writeKey(dataDir, name, bytes);
    // Last: as long as it is not there, no coordinator starts here.
    renameSync(join(dataDir, RESTORING_FILE), join(dataDir, DATABASE_FILE));
    sync(dataDir);
    return { ...contents, movedTo };
  } catch (error) {
    throw asBackupError(dataDir, error);
  }
}

/** Puts the database, ready to be used, beside its place. Gives the keys that came with it. */
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
  // Not those of the rows: an instance that has one of them and is still there goes on with it.
  sqlite.run(
    `INSERT INTO registry_state (id, uptime_ms, epoch_floor)
       VALUES (1, 0, ?1 + (SELECT coalesce(max(epoch), 0) FROM known_nodes))
       ON CONFLICT DO UPDATE SET epoch_floor = max(epoch_floor + ?1, excluded.epoch_floor)`,
    [NUMBERS_SKIPPED],
  );
}

/** Gives the directory that what was there is in now, or undefined when there was nothing. */
function moveAside(dataDir: string, nowMs: number, isResumed: boolean): string | undefined {
  // The database first: without it no coordinator starts on what is left of it. Its log would be taken for any other's.
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
  // What it has already, the one that was cut short has moved; what is in its place now comes from the backup.
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
