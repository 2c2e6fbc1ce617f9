/** The schema's migrations, embedded in the binary, so that a data directory of any earlier version opens. (R1) */
import type { Database } from "bun:sqlite";
import start from "./migrations/0000_start.sql" with { type: "text" };
import pushToken from "./migrations/0001_push_token.sql" with { type: "text" };
import lifecycle from "./migrations/0002_lifecycle.sql" with { type: "text" };
import trust from "./migrations/0003_trust.sql" with { type: "text" };

/** In order; the database's `user_version` is the number applied. Only append. */
const MIGRATIONS: readonly string[] = [start, pushToken, lifecycle, trust];
const BREAKPOINT = "--> statement-breakpoint";

/** The database was written by a newer version. */
export class DatabaseTooNewError extends Error {
  readonly code = "database_too_new";
}

/** Throws DatabaseTooNewError if this version doesn't know `schema`. `what` names the database in the message. */
export function checkSchema(schema: number, what: string): void {
  if (schema > MIGRATIONS.length)
    throw new DatabaseTooNewError(
      `${what} has schema ${schema}, but this version supports at most ${MIGRATIONS.length}; run the newer version`,
    );
}

/** Applies the missing migrations, each in its own transaction. Returns how many it applied. */
export function migrate(sqlite: Database): number {
  const row = sqlite.query("PRAGMA user_version").get() as { user_version: number };
  const applied = row.user_version;
  checkSchema(applied, "the database");
  for (let n = applied; n < MIGRATIONS.length; n++) {
    sqlite.transaction(() => {
      for (const statement of MIGRATIONS[n]!.split(BREAKPOINT)) sqlite.run(statement);
      sqlite.run(`PRAGMA user_version = ${n + 1}`);
    })();
  }
  return MIGRATIONS.length - applied;
}
