/**
 * How far each agent stream has come: what its tracker's feed was given, and what the tracker's socket has accepted,
 * which is what is acknowledged. It outlives connections, so that a frame still waiting when its connection broke is not
 * taken twice. Reaches the disk at least every second and at a stop. The only writer of `streams`. (A16, T8, DESIGN §6)
 */
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import { nodeOfStream, type NodeId, type SpoolId, type StreamId } from "@fleet/protocol";
import { eq, notInArray, type SQL, sql } from "drizzle-orm";
import { type Db, unsynced } from "../../db/open.ts";
import { knownNodes, streams } from "../../db/schema.ts";

const FLUSH_MS = 1000;

/** One stream's place in its spool's numbering. `accepted ≤ enqueued`. */
export interface StreamProgress {
  readonly streamId: StreamId;
  spoolId: SpoolId;
  /** The last number that was given to the tracker's feed, or handled otherwise. */
  enqueued: number;
  /** The last number such that it and all before it were accepted by the tracker's socket, or handled otherwise. */
  accepted: number;
  dirty: boolean;
}

/** Keeps the progress of all streams. */
export class ProgressStore {
  readonly #db: Db;
  readonly #put: ReturnType<typeof putStatement>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #streams = new Map<StreamId, StreamProgress>();
  #timer: Timer | undefined;
  /** Whether the last write failed: the disk is full, most likely. */
  failing = false;

  constructor(db: Db, clock: Clock, log: Log) {
    this.#db = db;
    this.#put = putStatement(db);
    this.#clock = clock;
    this.#log = log;
  }

  /** Takes up what is on disk, but for nodes that were removed as an earlier run ended. */
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
        dirty: false,
      });
    }
    this.#timer = every(this.#clock, FLUSH_MS, () => this.flush());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.flush();
  }

  /** Opens a session's stream at `firstSeq` of its spool: goes on where the same spool was, begins anew for another. */
  open(streamId: StreamId, spoolId: SpoolId, firstSeq: number): StreamProgress {
    let progress = this.#streams.get(streamId);
    if (progress === undefined || progress.spoolId !== spoolId) {
      // A new object: what still waits from the other spool reports to the old one.
      progress = {
        streamId,
        spoolId,
        enqueued: firstSeq - 1,
        accepted: firstSeq - 1,
        dirty: true,
      };
      this.#streams.set(streamId, progress);
    }
    return progress;
  }

  /** Notes that `progress` is handled up to `seq`. */
  accept(progress: StreamProgress, seq: number): void {
    if (seq <= progress.accepted) return;
    progress.accepted = seq;
    progress.dirty = true;
  }

  /** Forgets the streams of nodes that were removed. What still waits of them reports to nobody. (R4) */
  forget(nodes: ReadonlySet<NodeId>): void {
    for (const streamId of this.#streams.keys())
      if (nodes.has(nodeOfStream(streamId))) this.#streams.delete(streamId);
    this.#try(() =>
      this.#db.transaction((tx) => {
        for (const id of nodes) tx.delete(streams).where(eq(streams.nodeId, id)).run();
      }),
    );
  }

  /** Writes what changed. A disk that refuses costs duplicates after a restart, never frames; it is tried again. */
  flush(): void {
    const dirty = [...this.#streams.values()].filter((p) => p.dirty);
    if (dirty.length === 0 && !this.failing) return;
    // A sync would hold all frames up each second; without it a power loss costs duplicates, too.
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
    if (isWritten) for (const progress of dirty) progress.dirty = false;
  }

  #try(write: () => void): boolean {
    try {
      write();
      this.failing = false;
    } catch (err) {
      if (!this.failing) this.#log.error({ err }, "stream progress not written");
      this.failing = true;
    }
    return !this.failing;
  }
}

/** Puts a row in, or in the place of its stream's. Prepared once: written anew for each row, 500 of them held frames up for 30 ms. */
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
