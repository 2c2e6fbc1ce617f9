/** The trackers' rows: port leases and the process that ran last, so that a restart finds both. The only writer of `trackers`. (T3, T5) */
import type { Log } from "@fleet/daemon";
import type { StreamId } from "@fleet/protocol";
import { eq } from "drizzle-orm";
import type { Db } from "../db/open.ts";
import { trackers } from "../db/schema.ts";

/** One tracker's durable facts. */
export type TrackerRow = typeof trackers.$inferSelect;

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

  insert(row: TrackerRow): void {
    this.#try(() =>
      this.#db
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

  /** Writes down when each of some streams had its last frame, in one commit. */
  updateLastFrames(
    changed: readonly { readonly streamId: StreamId; readonly lastFrameAtMs: number | null }[],
  ): void {
    if (changed.length === 0) return;
    this.#try(() =>
      this.#db.transaction((tx) => {
        for (const { streamId, lastFrameAtMs } of changed) {
          tx.update(trackers)
            .set({ lastFrameAt: lastFrameAtMs })
            .where(eq(trackers.streamId, streamId))
            .run();
        }
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
