/**
 * The history of nodes: the only writer of node_events. Bounded for each node and in total. Appended to by the committer in
 * the transaction of the change that an event reports; read by the registry. (R4, R5)
 */
import { NODE_EVENTS_MAX, type NodeEventView, type NodeId } from "@fleet/protocol";
import { desc, eq } from "drizzle-orm";
import { type NodeEvent, nodeEventName } from "../bus.ts";
import type { Db } from "./open.ts";
import { nodeEvents } from "./schema.ts";

/** Events kept in total, the newest. */
const EVENTS_MAX = 200_000;

/** Reads and writes events. Every method throws the database's errors. */
export class NodeHistory {
  readonly #db: Db;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(db: Db) {
    this.#db = db;
    this.#statements = prepare(db);
  }

  /** Appends events, and drops the oldest events of their nodes beyond NODE_EVENTS_MAX. */
  append(events: readonly NodeEvent[]): void {
    for (const event of events) {
      const { nodeId, atMs, data } = event;
      const row = { nodeId, at: atMs, event: nodeEventName(event), data: JSON.stringify(data) };
      this.#statements.insert.run(row);
    }
    for (const nodeId of new Set(events.map((event) => event.nodeId)))
      this.#statements.trim.run({ nodeId, max: NODE_EVENTS_MAX });
  }

  /** Drops the oldest events of all nodes beyond EVENTS_MAX. */
  prune(): void {
    this.#statements.prune.run({ max: EVENTS_MAX });
  }

  /** The newest `limit` events of a node, newest first. */
  list(id: NodeId, limit: number): NodeEventView[] {
    return this.#db
      .select({ at: nodeEvents.at, event: nodeEvents.event, data: nodeEvents.data })
      .from(nodeEvents)
      .where(eq(nodeEvents.nodeId, id))
      .orderBy(desc(nodeEvents.id))
      .limit(limit)
      .all();
  }
}

/** Prepared once, since thousands of nodes may change state at once. */
function prepare({ $client: sqlite }: Db) {
  return {
    insert: sqlite.query<null, { nodeId: string; at: number; event: string; data: string }>(
      "INSERT INTO node_events (node_id, at, event, data) VALUES ($nodeId, $at, $event, $data)",
    ),
    trim: sqlite.query<null, { nodeId: string; max: number }>(
      `DELETE FROM node_events WHERE node_id = $nodeId AND id <=
         (SELECT id FROM node_events WHERE node_id = $nodeId ORDER BY id DESC LIMIT 1 OFFSET $max)`,
    ),
    prune: sqlite.query<null, { max: number }>(
      "DELETE FROM node_events WHERE id <= (SELECT max(id) FROM node_events) - $max",
    ),
  };
}
