/**
 * The nodes' rows: what the registry must not forget, and what befell each node. Whatever belongs together is one commit,
 * the history included. The only writer of known_nodes, superseded, node_events, blocked_nodes and registry_state; called
 * by registry.ts. (R1, R4, R5, R9)
 */
import type { Log } from "@fleet/daemon";
import {
  type InstanceId,
  NODE_EVENTS_MAX,
  type NodeEvent,
  type NodeId,
  type NodeState,
} from "@fleet/protocol";
import { and, desc, eq, getTableColumns, lte, notInArray, sql } from "drizzle-orm";
import type { Db } from "../db/open.ts";
import { blockedNodes, knownNodes, nodeEvents, registryState, superseded } from "../db/schema.ts";
import type { Floors } from "./enrolment/epochs.ts";
import type { Happening } from "./node-event.ts";
import type { Node, NodeRow } from "./node.ts";

/** Instances of a node that are remembered as replaced. */
const SUPERSEDED_MAX = 16;
/** Replaced instances of nodes that were removed which are remembered, the latest. */
const ORPHANED_MAX = 10_000;
/** Events that are kept in all, the latest. */
const EVENTS_MAX = 200_000;
const STATE_ID = 1;

/** An id that nobody may use, and since when. */
export type BlockedRow = typeof blockedNodes.$inferSelect;

/** A node's state that is to be published. */
export interface StateChange {
  readonly id: NodeId;
  readonly state: NodeState;
}

/** What a register writes down: the node's row, in the place of `previous`, and what befell it. */
export interface Admission {
  readonly row: NodeRow;
  readonly happenings: readonly Happening[];
  readonly previous: NodeRow | undefined;
}

/** How many agents more there are after these. */
export function newAgents(registerLimiter: readonly Admission[]): number {
  return registerLimiter.filter(({ previous }) => previous?.kind !== "agent").length;
}

/** What a start begins with. */
export interface Stored {
  readonly rows: readonly NodeRow[];
  readonly blocked: readonly BlockedRow[];
  readonly uptimeMs: number;
  readonly floors: Floors;
}

type Tx = Pick<Db, "insert" | "update" | "delete" | "select" | "run">;

/**
 * Reads and writes. What has to be on disk before it is answered throws what the database throws; what may come later
 * answers whether it was written. Either way the log hears of it when the database begins to refuse, and when that is over.
 */
export class NodeStore {
  readonly #db: Db;
  readonly #log: Log;
  readonly #upsert: ReturnType<typeof upsert>;
  readonly #statements: ReturnType<typeof statements>;
  #failing = false;
  /** Nodes were removed, maybe as an earlier run ended, and what they leave has not been bounded since. */
  #hasRemoved = true;

  constructor(db: Db, log: Log) {
    this.#db = db;
    this.#log = log;
    this.#upsert = upsert(db);
    this.#statements = statements(db);
  }

  /** Whether the last write failed: the disk is full, most likely. */
  get failing(): boolean {
    return this.#failing;
  }

  load(): Stored {
    const [state] = this.#db.select().from(registryState).all();
    return {
      rows: this.#db.select().from(knownNodes).all(),
      blocked: this.#db.select().from(blockedNodes).all(),
      uptimeMs: state?.uptimeMs ?? 0,
      floors: { epochFloor: state?.epochFloor ?? 0, voidFloor: state?.voidFloor ?? 0 },
    };
  }

  /** Writes a node's row and what befell it. Throws. */
  save(row: NodeRow, happenings: readonly Happening[]): void {
    this.admit([{ row, happenings, previous: undefined }]);
  }

  /** Writes what registers have changed, all or nothing; an instance that is replaced is barred. Throws. */
  admit(registerLimiter: readonly Admission[]): void {
    this.#must((tx) => {
      for (const { row, happenings, previous } of registerLimiter) {
        this.#upsert.run(row);
        if (previous?.instanceId != null && previous.instanceId !== row.instanceId)
          supersede(tx, previous, previous.instanceId);
        this.#record(happenings);
      }
    });
  }

  /** Removes nodes; their replaced instances stay barred. `blocked` are ids to bar from now on. Throws. */
  remove(
    ids: readonly NodeId[],
    happenings: readonly Happening[],
    floors: Floors,
    blocked: readonly BlockedRow[],
  ): void {
    this.#must((tx) => {
      for (const id of ids) tx.delete(knownNodes).where(eq(knownNodes.nodeId, id)).run();
      for (const row of blocked) tx.insert(blockedNodes).values(row).onConflictDoNothing().run();
      saveState(tx, floors);
      this.#hasRemoved = true;
      this.#record(happenings);
    });
  }

  /** Throws. */
  unblock(id: NodeId, happening: Happening): void {
    this.#must((tx) => {
      tx.delete(blockedNodes).where(eq(blockedNodes.nodeId, id)).run();
      this.#record([happening]);
    });
  }

  /** Writes down states before they are published. */
  saveStates(changes: readonly StateChange[], happenings: readonly Happening[]): boolean {
    const error = this.#attempt(() => {
      for (const { id, state } of changes) this.#statements.state.run({ id, state });
      this.#record(happenings);
    });
    return error === undefined;
  }

  /** Writes down when nodes were heard, and our uptime; bounds the history and what removed nodes leave. Writes a page in any case. */
  saveHeard(nodes: readonly Node[], uptimeMs: number): boolean {
    const error = this.#attempt((tx) => {
      for (const { id, row } of nodes)
        this.#statements.heard.run({ id, lastSeen: row.lastSeen, heardUptime: row.heardUptime });
      saveState(tx, { uptimeMs: Math.floor(uptimeMs) });
      if (this.#hasRemoved) this.#statements.orphaned.run({ max: ORPHANED_MAX });
      const newest = tx.select({ id: nodeEvents.id }).from(nodeEvents);
      const [last] = newest.orderBy(desc(nodeEvents.id)).limit(1).all();
      tx.delete(nodeEvents)
        .where(lte(nodeEvents.id, (last?.id ?? 0) - EVENTS_MAX))
        .run();
    });
    if (error === undefined) this.#hasRemoved = false;
    return error === undefined;
  }

  isSuperseded(id: NodeId, instance: InstanceId): boolean {
    return this.#statements.superseded.get({ id, instance }) !== null;
  }

  /** The latest events of a node, newest first. */
  history(id: NodeId, limit: number): NodeEvent[] {
    return this.#db
      .select({ at: nodeEvents.at, event: nodeEvents.event, data: nodeEvents.data })
      .from(nodeEvents)
      .where(eq(nodeEvents.nodeId, id))
      .orderBy(desc(nodeEvents.id))
      .limit(limit)
      .all();
  }

  #record(happenings: readonly Happening[]): void {
    const { event, trim } = this.#statements;
    for (const { data, ...happening } of happenings)
      event.run({ ...happening, data: JSON.stringify(data) });
    for (const nodeId of new Set(happenings.map((h) => h.nodeId)))
      trim.run({ nodeId, max: NODE_EVENTS_MAX });
  }

  #must(write: (tx: Tx) => void): void {
    const error = this.#attempt(write);
    if (error !== undefined) throw error;
  }

  #attempt(write: (tx: Tx) => void): Error | undefined {
    try {
      this.#db.transaction(write);
    } catch (err) {
      if (!this.#failing) this.#log.error({ err }, "the database takes no writes");
      this.#failing = true;
      return err as Error;
    }
    if (this.#failing) this.#log.info({}, "the database takes writes again");
    this.#failing = false;
    return undefined;
  }
}

/** Ready-made, since thousands of agents may register at once. */
function upsert(db: Db) {
  const columns = Object.entries(getTableColumns(knownNodes));
  const values = columns.map(([key]) => [key, sql.placeholder(key)] as const);
  const set = columns.map(([key, { name }]) => [key, sql.raw(`excluded."${name}"`)] as const);
  return db
    .insert(knownNodes)
    .values(Object.fromEntries(values) as never)
    .onConflictDoUpdate({ target: knownNodes.nodeId, set: Object.fromEntries(set) })
    .prepare();
}

/** Ready-made, since thousands of nodes may fall silent at once. */
function statements({ $client: sqlite }: Db) {
  return {
    state: sqlite.query<null, { id: string; state: string }>(
      "UPDATE known_nodes SET published_state = $state WHERE node_id = $id",
    ),
    heard: sqlite.query<null, { id: string; lastSeen: number; heardUptime: number }>(
      "UPDATE known_nodes SET last_seen = $lastSeen, heard_uptime = $heardUptime WHERE node_id = $id",
    ),
    event: sqlite.query<null, { nodeId: string; at: number; event: string; data: string }>(
      "INSERT INTO node_events (node_id, at, event, data) VALUES ($nodeId, $at, $event, $data)",
    ),
    trim: sqlite.query<null, { nodeId: string; max: number }>(
      `DELETE FROM node_events WHERE node_id = $nodeId AND id <=
         (SELECT id FROM node_events WHERE node_id = $nodeId ORDER BY id DESC LIMIT 1 OFFSET $max)`,
    ),
    superseded: sqlite.query<object, { id: string; instance: string }>(
      "SELECT 1 FROM superseded WHERE node_id = $id AND instance_id = $instance",
    ),
    orphaned: sqlite.query<null, { max: number }>(
      `DELETE FROM superseded WHERE rowid IN
         (SELECT rowid FROM superseded WHERE node_id NOT IN (SELECT node_id FROM known_nodes)
          ORDER BY rowid DESC LIMIT -1 OFFSET $max)`,
    ),
  };
}

function saveState(tx: Tx, set: { uptimeMs: number } | Floors): void {
  tx.insert(registryState)
    .values({ id: STATE_ID, uptimeMs: 0, epochFloor: 0, ...set })
    .onConflictDoUpdate({ target: registryState.id, set })
    .run();
}

function supersede(tx: Tx, { nodeId, epoch }: NodeRow, instanceId: string): void {
  tx.insert(superseded).values({ nodeId, instanceId, epoch }).onConflictDoNothing().run();
  const kept = tx
    .select({ instanceId: superseded.instanceId })
    .from(superseded)
    .where(eq(superseded.nodeId, nodeId))
    .orderBy(desc(superseded.epoch))
    .limit(SUPERSEDED_MAX);
  tx.delete(superseded)
    .where(and(eq(superseded.nodeId, nodeId), notInArray(superseded.instanceId, kept)))
    .run();
}
