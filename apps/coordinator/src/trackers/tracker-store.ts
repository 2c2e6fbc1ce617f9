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

/**
 * Reads and writes tracker rows. A disk that refuses is logged and costs what a restart would have known (a preferred
 * port, an orphan's pid), never a frame.
 */
export class TrackerStore {
  readonly #db: Db;
  readonly #log: Log;

  constructor(db: Db, log: Log) {
    this.#db = db;
    this.#log = log;
  }

  all(): TrackerRow[] {
    return this.#db.select().from(trackers).all();
  }

  /** In one commit, as all that takes several. */
  insert(rows: readonly TrackerRow[]): void {
    this.#all(rows, (tx, row) =>
      tx
        .insert(trackers)
        .values(row)
        .onConflictDoUpdate({ target: trackers.streamId, set: row })
        .run(),
    );
  }

  update(streamId: StreamId, changes: Partial<Omit<TrackerRow, "streamId">>): void {
    this.#try(() =>
      this.#db.update(trackers).set(changes).where(eq(trackers.streamId, streamId)).run(),
    );
  }

  updateAll(changed: readonly TrackerChange[]): void {
    this.#all(changed, (tx, { streamId, ...changes }) =>
      tx.update(trackers).set(changes).where(eq(trackers.streamId, streamId)).run(),
    );
  }

  remove(streamIds: readonly StreamId[]): void {
    this.#all(streamIds, (tx, id) => tx.delete(trackers).where(eq(trackers.streamId, id)).run());
  }

  #all<T>(
    items: readonly T[],
    write: (tx: Pick<Db, "insert" | "update" | "delete">, item: T) => void,
  ): void {
    if (items.length === 0) return;
    this.#try(() =>
      this.#db.transaction((tx) => {
        for (const item of items) write(tx, item);
      }),
    );
  }

  #try(write: () => void): void {
    try {
      write();
    } catch (err) {
      this.#log.error({ err }, "tracker row not written");
    }
  }
}
