import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { getTableConfig, type SQLiteTable } from "drizzle-orm/sqlite-core";
import { tempDir } from "../testing.ts";
import { DATABASE_FILE } from "./data-dir.ts";
import { DatabaseTooNewError, migrate } from "./migrations.ts";
import { MEMORY, openDb } from "./open.ts";
import * as schema from "./schema.ts";

const FOLDER = join(import.meta.dirname, "migrations");
const ROWS = 3;

/** The migrations that drizzle-kit has written, read independently of the program. */
const committed = (
  JSON.parse(readFileSync(join(FOLDER, "meta/_journal.json"), "utf8")) as {
    entries: { tag: string }[];
  }
).entries.map(({ tag }) => readFileSync(join(FOLDER, `${tag}.sql`), "utf8"));

interface Column {
  readonly name: string;
  readonly type: string;
  readonly notnull: number;
  readonly pk: number;
}

const tables = new Map(
  (Object.values(schema) as SQLiteTable[]).map((table) => {
    const config = getTableConfig(table);
    return [config.name, config] as const;
  }),
);

/** A database as a version with only the first `n` migrations leaves it. */
function earlier(path: string, n: number): Database {
  const sqlite = new Database(path);
  for (const sql of committed.slice(0, n))
    for (const statement of sql.split("--> statement-breakpoint")) sqlite.run(statement);
  sqlite.run(`PRAGMA user_version = ${n}`);
  return sqlite;
}

function tableNames(sqlite: Database): string[] {
  return sqlite
    .query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .values()
    .map(([name]) => name as string);
}

function columnsOf(sqlite: Database, table: string): Column[] {
  return sqlite.query(`PRAGMA table_info(${table})`).all() as Column[];
}

/** A valid value for a column; any text or number if today's schema lacks the column. */
function sampleOf(table: string, { name, type }: Column, i: number): string | number {
  const today = tables.get(table)?.columns.find((column) => column.name === name);
  const values = (today?.enumValues ?? []) as readonly string[];
  if (values.length > 0) return values[i % values.length]!;
  if (today?.dataType === "json") return "{}";
  return type.toLowerCase() === "integer" ? i + 1 : `${name}-${i}`;
}

function fill(sqlite: Database): void {
  for (const table of tableNames(sqlite)) {
    const columns = columnsOf(sqlite, table);
    const marks = columns.map(() => "?").join(", ");
    for (let i = 0; i < ROWS; i++)
      sqlite.run(
        `INSERT OR IGNORE INTO "${table}" VALUES (${marks})`,
        columns.map((column) => sampleOf(table, column, i)),
      );
  }
}

function rowsOf(sqlite: Database, table: string, columns: readonly string[]): unknown[] {
  const names = columns.map((name) => `"${name}"`).join(", ");
  return sqlite.query(`SELECT ${names} FROM "${table}" ORDER BY 1, 2`).values();
}

describe("migrations", () => {
  test.each(committed.map((_, n) => n))(
    "from schema %i lose no row and no value that today's schema still has (R1)",
    (n) => {
      using dir = tempDir();
      const sqlite = earlier(join(dir.path, DATABASE_FILE), n);
      fill(sqlite);
      const before = tableNames(sqlite).map((table) => {
        const today = tables.get(table)?.columns.map((column) => column.name) ?? [];
        const kept = columnsOf(sqlite, table).flatMap(({ name }) =>
          today.includes(name) ? [name] : [],
        );
        return { table, kept, rows: rowsOf(sqlite, table, kept) };
      });
      sqlite.close();

      const opened = openDb(dir.path);
      const kept = before.filter(({ table }) => tables.has(table));
      if (n > 0) expect(kept).not.toBeEmpty();
      for (const { table, kept: columns, rows } of kept) {
        expect(rows).not.toBeEmpty();
        expect(rowsOf(opened.db.$client, table, columns)).toEqual(rows);
      }
      opened.close();
    },
  );

  test("in the program are the ones that drizzle-kit has written", () => {
    using dir = tempDir();
    const sqlite = earlier(join(dir.path, "all.db"), committed.length);
    expect(migrate(sqlite)).toBe(0);
    const made = new Database(":memory:");
    expect(migrate(made)).toBe(committed.length);
    const sql = "SELECT sql FROM sqlite_master ORDER BY name";
    expect(made.query(sql).values()).toEqual(sqlite.query(sql).values());
  });

  test("that have been applied are not applied again", () => {
    const sqlite = new Database(":memory:");
    expect(migrate(sqlite)).toBeGreaterThan(0);
    expect(migrate(sqlite)).toBe(0);
  });

  test("of a newer version are refused, and the database stays unchanged", () => {
    using dir = tempDir();
    openDb(dir.path).close();
    const path = join(dir.path, DATABASE_FILE);
    const sqlite = new Database(path);
    sqlite.run("PRAGMA user_version = 99");
    sqlite.close();
    const before = readFileSync(path);
    expect(() => openDb(dir.path)).toThrow(DatabaseTooNewError);
    expect(() => openDb(dir.path)).toThrow("schema 99");
    expect(readFileSync(path)).toEqual(before);
  });
});

test("the migrations produce the schema that the code uses", () => {
  const opened = openDb(MEMORY);
  const sqlite = opened.db.$client;
  expect(tableNames(sqlite)).toEqual([...tables.keys()].toSorted());
  for (const { name, columns, primaryKeys, indexes } of tables.values()) {
    const inDb = columnsOf(sqlite, name);
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
