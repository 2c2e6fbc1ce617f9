/** The trackers' rows: port leases and the process that ran last, so that a restart finds both. The only writer of `trackers`. (T3, T5) */
import type { Log } from "@fleet/daemon";
import type { StreamId } from "@fleet/protocol";
import { eq } from "drizzle-orm";
import type { Db } from "../db/open.ts";
import { trackers } from "../db/schema.ts";

/** One tracker's durable facts. */
export type TrackerRow = typeof trackers.$inferSelect;

/** What is to be different in one tracker's row. */
export type TrackerChange = Partial<TrackerRow> & { readonly streamId: StreamId };

/** What is not written yet of one row. */
type Unwritten =
  | { readonly at: "new"; readonly row: TrackerRow }
  | { readonly at: "changed"; readonly changes: Partial<TrackerRow> }
  | { readonly at: "removed" };

/**
 * Reads and writes tracker rows. What a disk refuses is kept, a row's worth for each stream, and written with the next change
 * or `flush`; it is told of once. A kill before that costs what the next start would have known (a preferred port, an
 * orphan's pid, a run's number), never a frame.
 */
export class TrackerStore {
  readonly #db: Db;
  readonly #log: Log;
  readonly #unwritten = new Map<string, Unwritten>();
  #failing = false;

  constructor(db: Db, log: Log) {
    this.#db = db;
    this.#log = log;
  }

  all(): TrackerRow[] {
    return this.#db.select().from(trackers).all();
  }

  /** In one commit, as all that takes several. */
  insert(rows: readonly TrackerRow[]): void {
    for (const row of rows) this.#unwritten.set(row.streamId, { at: "new", row });
    this.flush();
  }

  update(streamId: StreamId, changes: Partial<Omit<TrackerRow, "streamId">>): void {
    this.updateAll([{ streamId, ...changes }]);
  }

  updateAll(changed: readonly TrackerChange[]): void {
    for (const { streamId, ...changes } of changed) {
      const before = this.#unwritten.get(streamId);
      if (before?.at === "new")
        this.#unwritten.set(streamId, { at: "new", row: { ...before.row, ...changes } });
      else if (before?.at !== "removed")
        this.#unwritten.set(streamId, {
          at: "changed",
          changes: { ...before?.changes, ...changes },
        });
    }
    this.flush();
  }

  remove(streamIds: readonly StreamId[]): void {
    for (const id of streamIds) this.#unwritten.set(id, { at: "removed" });
    this.flush();
  }

  /** Writes what was refused before. Called once a second. */
  flush(): void {
    if (this.#unwritten.size === 0) return;
    try {
      this.#db.transaction((tx) => {
        for (const [streamId, what] of this.#unwritten) write(tx, streamId, what);
      });
      this.#unwritten.clear();
      if (this.#failing) this.#log.info({}, "tracker rows are written again");
      this.#failing = false;
    } catch (err) {
      if (!this.#failing) this.#log.error({ err }, "tracker rows not written");
      this.#failing = true;
    }
  }
}

function write(
  tx: Pick<Db, "insert" | "update" | "delete">,
  streamId: string,
  what: Unwritten,
): void {
  const where = eq(trackers.streamId, streamId);
  if (what.at === "removed") tx.delete(trackers).where(where).run();
  else if (what.at === "changed") tx.update(trackers).set(what.changes).where(where).run();
  else
    tx.insert(trackers)
      .values(what.row)
      .onConflictDoUpdate({ target: trackers.streamId, set: what.row })
      .run();
}
