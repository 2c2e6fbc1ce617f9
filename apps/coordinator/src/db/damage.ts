/** Whether a database can be relied on. SQLite's pages carry no checksums: this finds what can't be read, not every changed letter. */
import { type Database, SQLiteError } from "bun:sqlite";
import { type Column, is, Table } from "drizzle-orm";
import { getTableConfig, type SQLiteTable } from "drizzle-orm/sqlite-core";
import * as schema from "./schema.ts";

/** A database, or a file that is to become one, is damaged. The message names it and what to do. */
export class DatabaseDamagedError extends Error {
  readonly code = "database_damaged";

  constructor(path: string, damage: string, remedy: string, cause?: unknown) {
    super(`${path} is damaged (${damage}); ${remedy}`, { cause });
  }
}

/** Whether SQLite threw `error` because the file is damaged, or is no database. */
export function isDamage(error: unknown): error is SQLiteError {
  return error instanceof SQLiteError && /^SQLITE_(CORRUPT|NOTADB)/.test(error.code ?? "");
}

/**
 * What is wrong with a database of any schema; undefined when nothing is. Both read all of it: `quick_check` looks at the pages
 * (0.15 s for 100 000 nodes), `integrity_check` also compares the indexes with their tables (0.6 s). May throw what `isDamage`.
 */
export function structuralDamage(
  sqlite: Database,
  check: "quick_check" | "integrity_check",
): string | undefined {
  const [[said] = []] = sqlite.query(`PRAGMA ${check}(1)`).values();
  return said === "ok" ? undefined : String(said).replaceAll(/\s+/g, " ");
}

/** A value of a database of the current schema that the code can't read: it would only show when somebody asks for its row. */
export function unreadableValue(sqlite: Database): string | undefined {
  for (const table of Object.values(schema)) {
    if (!is(table, Table)) continue;
    const { name, columns } = getTableConfig(table as SQLiteTable);
    const isReadable = columns.map((column) => `(${readable(column)})`).join(" AND ");
    const row = sqlite.query(`SELECT 1 FROM "${name}" WHERE NOT (${isReadable}) LIMIT 1`).get();
    if (row !== null) return `a row of ${name} can't be read`;
  }
  return undefined;
}

/** The condition, in SQL, under which the code can read a value of this column. */
function readable(column: Column): string {
  const name = `"${column.name}"`;
  // A number with a fraction in a column of integers is odd, but no damage.
  const types =
    column.getSQLType() === "integer" ? "'integer', 'real'" : `'${column.getSQLType()}'`;
  const conditions = [`typeof(${name}) IN (${types})`];
  if (column.enumValues !== undefined && column.enumValues.length > 0)
    conditions.push(`${name} IN (${column.enumValues.map((value) => `'${value}'`).join(", ")})`);
  if (column.dataType === "json") conditions.push(`json_valid(${name})`);
  const all = conditions.join(" AND ");
  return column.notNull ? all : `${name} IS NULL OR (${all})`;
}
