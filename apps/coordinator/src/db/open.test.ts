import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getTableConfig, type SQLiteTable } from "drizzle-orm/sqlite-core";
import { tempDir } from "../testing.ts";
import { DatabaseTooNewError, migrate } from "./migrations.ts";
import { DataDirError, MEMORY, openDb } from "./open.ts";
import * as schema from "./schema.ts";

const HOLDER = `
  const { openDb } = await import(process.argv[1]);
  openDb(process.argv[2]);
  process.stdout.write("open\\n");
  await new Promise(() => setInterval(() => {}, 1000));
`;

async function holderOf(dir: string): Promise<Bun.Subprocess<"ignore", "pipe", "inherit">> {
  const holder = Bun.spawn(
    [process.execPath, "-e", HOLDER, join(import.meta.dirname, "open.ts"), dir],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  await holder.stdout.getReader().read();
  return holder;
}

function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

test("a directory that isn't there is made, for its owner alone, and keeps what is written (R1)", () => {
  using dir = tempDir();
  const path = join(dir.path, "a", "b");
  const first = openDb(path);
  first.db.$client.run("INSERT INTO streams VALUES ('n.s', 'n', 'x', 7)");
  first.close();
  expect(statSync(path).mode & 0o777).toBe(0o700);
  const second = openDb(path);
  expect(second.db.select().from(schema.streams).all()).toEqual([
    { streamId: "n.s", nodeId: "n", spoolId: "x", ackedSeq: 7 },
  ]);
  second.close();
});

test("a directory that another process holds is refused by name, until that process has gone, however it goes", async () => {
  using dir = tempDir();
  const holder = await holderOf(dir.path);
  const error = thrownBy(() => openDb(dir.path));
  expect(error).toBeInstanceOf(DataDirError);
  expect((error as Error).message).toBe(
    `data directory ${dir.path} is in use by another coordinator`,
  );
  holder.kill("SIGKILL");
  await holder.exited;
  openDb(dir.path).close();
});

test("a refused opening leaves nothing open: closing the first lets the next one in", () => {
  using dir = tempDir();
  const first = openDb(dir.path);
  expect(() => openDb(dir.path)).toThrow("in use by another coordinator");
  first.close();
  openDb(dir.path).close();
});

test("a data directory that can't be one, or a file that is no database, is refused with the reason", () => {
  using dir = tempDir();
  const file = join(dir.path, "file");
  writeFileSync(file, "");
  expect(thrownBy(() => openDb(join(file, "data")))).toBeInstanceOf(DataDirError);
  expect(() => openDb(join(file, "data"))).toThrow("is not a directory");
  expect(() => openDb("/proc/fleet")).toThrow("data directory /proc/fleet does not exist");

  writeFileSync(join(dir.path, "coordinator.db"), "this is not a database at all, but text");
  expect(() => openDb(dir.path)).toThrow(/can't be used: file is not a database/);
});

test.skipIf(process.getuid!() !== 0)(
  "a directory that may not be written is named with its owner and our uid, also one above it",
  () => {
    using dir = tempDir();
    chmodSync(dir.path, 0o755);
    const script = `
      const { openDb } = await import(process.argv[1]);
      process.setgroups([]);
      process.setgid(65532);
      process.setuid(65532);
      for (const dir of process.argv.slice(2)) try { openDb(dir) } catch (e) { console.log(e.message) }`;
    const [there, missing] = [dir.path, join(dir.path, "a", "b")];
    const open = join(import.meta.dirname, "open.ts");
    const { stdout } = Bun.spawnSync([process.execPath, "-e", script, open, there, missing]);
    const owner = `can't be written by uid 65532: ${dir.path} belongs to uid 0 (mode 0755)`;
    expect(stdout.toString()).toBe(
      `data directory ${there} ${owner}\ndata directory ${missing} ${owner}\n`,
    );
  },
);

test("a database written by a newer version is refused, unchanged", () => {
  using dir = tempDir();
  openDb(dir.path).close();
  const sqlite = new Database(join(dir.path, "coordinator.db"));
  sqlite.run("PRAGMA user_version = 99");
  sqlite.close();
  expect(thrownBy(() => openDb(dir.path))).toBeInstanceOf(DatabaseTooNewError);
  expect(() => openDb(dir.path)).toThrow("schema 99");
});

test("migrating twice applies nothing the second time", () => {
  const sqlite = new Database(":memory:");
  expect(migrate(sqlite)).toBeGreaterThan(0);
  expect(migrate(sqlite)).toBe(0);
});

interface Column {
  readonly name: string;
  readonly type: string;
  readonly notnull: number;
  readonly pk: number;
}

test("the schema the code uses is the one the migrations make", () => {
  const opened = openDb(MEMORY);
  const sqlite = opened.db.$client;
  const tables = Object.values(schema) as SQLiteTable[];
  const made = sqlite
    .query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .all() as { name: string }[];
  expect(made.map((t) => t.name)).toEqual(tables.map((t) => getTableConfig(t).name).toSorted());
  for (const table of tables) {
    const { name, columns, primaryKeys, indexes } = getTableConfig(table);
    const inDb = sqlite.query(`PRAGMA table_info(${name})`).all() as Column[];
    expect(inDb.map(({ name: column, type, notnull }) => [column, type, notnull === 1])).toEqual(
      columns.map((c) => [c.name, c.getSQLType().toUpperCase(), c.notNull]),
    );
    const key = [
      ...columns.filter((c) => c.primary).map((c) => c.name),
      ...primaryKeys.flatMap((k) => k.columns.map((c) => c.name)),
    ];
    const keyInDb = inDb.filter((c) => c.pk > 0).toSorted((a, b) => a.pk - b.pk);
    expect(keyInDb.map((c) => c.name)).toEqual(key);
    const indexesInDb = sqlite
      .query(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL AND tbl_name = ?",
      )
      .all(name) as { name: string }[];
    expect(indexesInDb.map((i) => i.name)).toEqual(indexes.map((i) => i.config.name));
  }
  opened.close();
});

test("commits are on disk before they are answered: WAL, synchronous FULL, exclusive (R1)", () => {
  using dir = tempDir();
  mkdirSync(join(dir.path, "d"));
  const opened = openDb(join(dir.path, "d"));
  const pragma = (name: string): unknown =>
    Object.values(opened.db.$client.query(`PRAGMA ${name}`).get() as object)[0];
  expect([pragma("journal_mode"), pragma("synchronous"), pragma("locking_mode")]).toEqual([
    "wal",
    2,
    "exclusive",
  ]);
  opened.close();
});
