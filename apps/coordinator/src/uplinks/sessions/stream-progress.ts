/**
 * The progress of each agent stream: the last frame that was queued for its tracker and the last that the tracker's socket
 * accepted, which is what is acknowledged. It outlives connections, so that a frame that still waits when its connection
 * breaks is not taken twice. It is on disk within a second and at a stop. The only writer of the table `streams`. (A16, T8)
 */
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import { nodeOfStream, type NodeId, type SpoolId, type StreamId } from "@fleet/protocol";
import { eq, notInArray, type SQL, sql } from "drizzle-orm";
import { type Db, unsynced } from "../../db/open.ts";
import { knownNodes, streams } from "../../db/schema.ts";

const FLUSH_MS = 1000;

/** One stream's position in the sequence numbers of its spool. `accepted ≤ enqueued`. */
export interface StreamProgress {
  readonly streamId: StreamId;
  spoolId: SpoolId;
  /** The last number that was queued for the tracker, rejected or skipped. */
  enqueued: number;
  /** The last number up to which everything was accepted by the tracker's socket, rejected or skipped. */
  accepted: number;
  /** Whether `accepted` has advanced since it was written. */
  isDirty: boolean;
}

/** Keeps the progress of all streams. */
export class ProgressStore {
  readonly #db: Db;
  readonly #put: ReturnType<typeof putStatement>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #streams = new Map<StreamId, StreamProgress>();
  #timer: Timer | undefined;
  /** Whether the last write failed, most likely because the disk is full. */
  isFailing = false;

  constructor(db: Db, clock: Clock, log: Log) {
    this.#db = db;
    this.#put = putStatement(db);
    this.#clock = clock;
    this.#log = log;
  }

  /** Reads the progress on disk. Deletes rows of nodes that were removed just before an earlier process ended. */
  start(): void {
    this.#try(() => {
      const known = this.#db.select({ nodeId: knownNodes.nodeId }).from(knownNodes);
      this.#db.delete(streams).where(notInArray(streams.nodeId, known)).run();
    });
    for (const row of this.#db.select().from(streams).all()) {
      const streamId = row.streamId as StreamId;
      this.#streams.set(streamId, {
        streamId,
        spoolId: row.spoolId as SpoolId,
        enqueued: row.ackedSeq,
        accepted: row.ackedSeq,
        isDirty: false,
      });
    }
    this.#timer = every(this.#clock, FLUSH_MS, () => this.flush());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.flush();
  }

  /** Opens a session's stream: continues the progress of the same spool; a new spool begins before `firstSeq`. */
  open(streamId: StreamId, spoolId: SpoolId, firstSeq: number): StreamProgress {
    let progress = this.#streams.get(streamId);
    if (progress === undefined || progress.spoolId !== spoolId) {
      // A new object, because frames of the old spool that still wait report to the old one.
      progress = {
        streamId,
        spoolId,
        enqueued: firstSeq - 1,
        accepted: firstSeq - 1,
        isDirty: true,
      };
      this.#streams.set(streamId, progress);
    }
    return progress;
  }

  /** Notes that everything up to `seq` is handled. */
  accept(progress: StreamProgress, seq: number): void {
    if (seq <= progress.accepted) return;
    progress.accepted = seq;
    progress.isDirty = true;
  }

  /** Forgets the streams of removed nodes. Their frames that still wait report to an object that nobody reads. (R4) */
  forget(nodes: ReadonlySet<NodeId>): void {
    for (const streamId of this.#streams.keys())
      if (nodes.has(nodeOfStream(streamId))) this.#streams.delete(streamId);
    this.#try(() =>
      this.#db.transaction((tx) => {
        for (const id of nodes) tx.delete(streams).where(eq(streams.nodeId, id)).run();
      }),
    );
  }

  /** Writes what has changed. A failed write is tried again; it costs duplicates after a restart, never frames. */
  flush(): void {
    const dirty = [...this.#streams.values()].filter((p) => p.isDirty);
    if (dirty.length === 0 && !this.isFailing) return;
    // Without a sync a power loss costs duplicates, too; with one, all frames would wait for it each second.
    const isWritten = this.#try(() =>
      unsynced(this.#db, () =>
        this.#db.transaction(() => {
          for (const { streamId, spoolId, accepted } of dirty)
            this.#put.run({
              streamId,
              nodeId: nodeOfStream(streamId),
              spoolId,
              ackedSeq: accepted,
            });
        }),
      ),
    );
    if (isWritten) for (const progress of dirty) progress.isDirty = false;
  }

  #try(write: () => void): boolean {
    try {
      write();
      this.isFailing = false;
    } catch (err) {
      if (!this.isFailing) this.#log.error({ err }, "writing stream progress fails");
      this.isFailing = true;
    }
    return !this.isFailing;
  }
}

/** Inserts or replaces a row. It is prepared once, because building it for each of 500 rows delays frames by 30 ms. */
function putStatement(db: Db) {
  const excluded = (column: { readonly name: string }): SQL =>
    sql`excluded.${sql.identifier(column.name)}`;
  const { nodeId, spoolId, ackedSeq } = streams;
  return db
    .insert(streams)
    .values({
      streamId: sql.placeholder("streamId"),
      nodeId: sql.placeholder("nodeId"),
      spoolId: sql.placeholder("spoolId"),
      ackedSeq: sql.placeholder("ackedSeq"),
    })
    .onConflictDoUpdate({
      target: streams.streamId,
      set: { nodeId: excluded(nodeId), spoolId: excluded(spoolId), ackedSeq: excluded(ackedSeq) },
    })
    .prepare();
}
