/**
 * The rows of trackers: port leases and the latest process, so that a restart finds both. The only writer of the table
 * `trackers`. (T3, T5)
 */
import type { Log } from "@fleet/daemon";
import type { StreamId } from "@fleet/protocol";
import { eq } from "drizzle-orm";
import type { Db } from "../db/open.ts";
import { trackers } from "../db/schema.ts";

/** The durable part of one tracker. */
export type TrackerRow = typeof trackers.$inferSelect;

/** A change of one tracker's row. */
export type TrackerChange = Partial<TrackerRow> & { readonly streamId: StreamId };

/** What of one row is not written yet. */
type Unwritten =
  | { readonly at: "new"; readonly row: TrackerRow }
  | { readonly at: "changed"; readonly changes: Partial<TrackerRow> }
  | { readonly at: "removed" };

/**
 * Reads and writes tracker rows. A failed write is logged once, kept (at most one row for each stream) and repeated with the
 * next change or `flush`. A kill before that costs a preferred port, an orphan's pid or a run number, never a frame.
 */
export class TrackerStore {
  readonly #db: Db;
  readonly #log: Log;
  readonly #unwritten = new Map<string, Unwritten>();
  #isFailing = false;

  constructor(db: Db, log: Log) {
    this.#db = db;
    this.#log = log;
  }

  all(): TrackerRow[] {
    return this.#db.select().from(trackers).all();
  }

  /** Inserts rows in one transaction. */
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

  /** Writes what is not written yet. Called once a second. */
  flush(): void {
    if (this.#unwritten.size === 0) return;
    try {
      this.#db.transaction((tx) => {
        for (const [streamId, unwritten] of this.#unwritten) write(tx, streamId, unwritten);
      });
      this.#unwritten.clear();
      if (this.#isFailing) this.#log.info({}, "writing tracker rows works again");
      this.#isFailing = false;
    } catch (err) {
      if (!this.#isFailing) this.#log.error({ err }, "writing tracker rows fails");
      this.#isFailing = true;
    }
  }
}

function write(
  tx: Pick<Db, "insert" | "update" | "delete">,
  streamId: string,
  unwritten: Unwritten,
): void {
  const where = eq(trackers.streamId, streamId);
  if (unwritten.at === "removed") tx.delete(trackers).where(where).run();
  else if (unwritten.at === "changed")
    tx.update(trackers).set(unwritten.changes).where(where).run();
  else
    tx.insert(trackers)
      .values(unwritten.row)
      .onConflictDoUpdate({ target: trackers.streamId, set: unwritten.row })
      .run();
}
