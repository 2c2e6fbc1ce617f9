import { describe, expect, test } from "bun:test";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SQLiteTable } from "drizzle-orm/sqlite-core";
import fc from "fast-check";
import { registration, tempDir } from "../testing.ts";
import { DatabaseDamagedError } from "./damage.ts";
import { DATABASE_FILE, DataDirError } from "./data-dir.ts";
import { DatabaseTooNewError } from "./migrations.ts";
import { openDb } from "./open.ts";
import * as schema from "./schema.ts";

const NODES = 60;
const PAGE_BYTES = 4096;

/** Creates a database of several pages in `dir` and returns its bytes. */
function someDatabase(dir: string): Buffer {
  const opened = openDb(dir);
  for (let i = 0; i < NODES; i++) {
    const request = registration({
      node_id: `node-${i}`,
      instance_id: `instance-${i}`,
      labels: { site: `hill ${i}` },
    });
    const row = {
      ...request,
      nodeId: request.node_id,
      instanceId: request.instance_id,
      kind: "agent",
      epoch: i + 1,
      publishedState: "LIVE",
      firstSeen: i,
      lastSeen: i,
    } as const;
    opened.db.insert(schema.knownNodes).values(row).run();
    opened.db
      .insert(schema.superseded)
      .values({ nodeId: `node-${i}`, instanceId: `before-${i}`, epoch: i })
      .run();
  }
  opened.close();
  return readFileSync(join(dir, DATABASE_FILE));
}

/** Opens the directory and reads everything, as the coordinator does. Returns the error of opening it. */
function readAll(dir: string): unknown {
  let opened;
  try {
    opened = openDb(dir);
  } catch (error) {
    return error;
  }
  try {
    for (const table of Object.values(schema) as SQLiteTable[])
      opened.db.select().from(table).all();
    return undefined;
  } finally {
    opened.close();
  }
}

describe("a damaged database", () => {
  test("with overwritten or missing pages is refused with its path and what to do", () => {
    using dir = tempDir();
    const whole = someDatabase(dir.path);
    const path = join(dir.path, DATABASE_FILE);
    const pages = whole.length / PAGE_BYTES;
    expect(pages).toBeGreaterThan(8);
    for (let page = 0; page < pages; page++) {
      const bytes = Buffer.from(whole);
      bytes.fill(0xa5, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      writeFileSync(path, bytes);
      expect(readAll(dir.path)).toBeInstanceOf(DatabaseDamagedError);
    }
    writeFileSync(path, whole);
    truncateSync(path, whole.length - PAGE_BYTES - 1);
    const error = readAll(dir.path) as DatabaseDamagedError;
    expect(error.code).toBe("database_damaged");
    expect(error.message).toStartWith(`${path} is damaged (`);
    expect(error.message).toContain(`fleet-coordinator restore FILE --data-dir ${dir.path}`);
    writeFileSync(path, whole);
    expect(readAll(dir.path)).toBeUndefined();
  });

  test("with any byte flipped is refused with a known error, or can be read completely", () => {
    using dir = tempDir();
    const whole = someDatabase(dir.path);
    const path = join(dir.path, DATABASE_FILE);
    let refused = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: whole.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (at, flip) => {
          const bytes = Buffer.from(whole);
          bytes[at]! ^= flip;
          writeFileSync(path, bytes);
          const error = readAll(dir.path);
          if (error === undefined) return;
          refused++;
          const isKnown = [DatabaseDamagedError, DatabaseTooNewError, DataDirError].some(
            (known) => error instanceof known,
          );
          expect(isKnown).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
    expect(refused).toBeGreaterThan(0);
  });
});
