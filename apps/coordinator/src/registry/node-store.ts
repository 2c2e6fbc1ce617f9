/**
 * The SQL of the registry: the only writer of known_nodes, superseded, blocked_nodes and registry_state. The methods that
 * write run inside a transaction of the committer and throw the database's errors. (R1, R4, R9)
 */
import type { InstanceId, NodeId, NodeState } from "@fleet/protocol";
import { and, desc, eq, getTableColumns, notInArray, sql } from "drizzle-orm";
import type { Db } from "../db/open.ts";
import { blockedNodes, knownNodes, registryState, superseded } from "../db/schema.ts";
import type { Floors } from "./enrolment/epochs.ts";
import type { BlockedRow, Node, NodeRow } from "./node.ts";

/** Replaced instances remembered for each node, the newest. */
const SUPERSEDED_MAX = 16;
/** Replaced instances remembered of all nodes that were removed, the newest. */
const ORPHANED_MAX = 10_000;
const STATE_ID = 1;

/** A node's state that is to be published. */
export interface StateChange {
  readonly id: NodeId;
  readonly state: NodeState;
}

/** What is loaded at a start. */
export interface Stored {
  readonly nodes: readonly NodeRow[];
  readonly blocked: readonly BlockedRow[];
  readonly uptimeMs: number;
  readonly floors: Floors;
}

/** Reads and writes rows. */
export class NodeStore {
  readonly #db: Db;
  readonly #upsert: ReturnType<typeof upsert>;
  readonly #statements: ReturnType<typeof statements>;
  /** Whether nodes may have been removed, in this run or before it, since the replaced instances were last pruned. */
  hasOrphans = true;

  constructor(db: Db) {
    this.#db = db;
    this.#upsert = upsert(db);
    this.#statements = statements(db);
  }

  load(): Stored {
    const [state] = this.#db.select().from(registryState).all();
    return {
      nodes: this.#db.select().from(knownNodes).all(),
      blocked: this.#db.select().from(blockedNodes).all(),
      uptimeMs: state?.uptimeMs ?? 0,
      floors: { epochFloor: state?.epochFloor ?? 0, voidFloor: state?.voidFloor ?? 0 },
    };
  }

  /** Writes a node's row in the place of `previous`, and bars the instance that is replaced. */
  saveNode(row: NodeRow, previous: NodeRow | undefined): void {
    this.#upsert.run(row);
    if (previous?.instanceId != null && previous.instanceId !== row.instanceId)
      supersede(this.#db, previous, previous.instanceId);
  }

  /** Deletes a node's row. Its replaced instances stay barred. */
  deleteNode(id: string): void {
    this.hasOrphans = true;
    this.#db.delete(knownNodes).where(eq(knownNodes.nodeId, id)).run();
  }

  saveBlock(row: BlockedRow): void {
    this.#db.insert(blockedNodes).values(row).onConflictDoNothing().run();
  }

  deleteBlock(id: string): void {
    this.#db.delete(blockedNodes).where(eq(blockedNodes.nodeId, id)).run();
  }

  saveFloors({ epochFloor, voidFloor }: Floors): void {
    saveState(this.#db, { epochFloor, voidFloor });
  }

  saveStates(changes: readonly StateChange[]): void {
    for (const { id, state } of changes) this.#statements.state.run({ id, state });
  }

  /** Writes when nodes were last heard and our uptime, so it always writes a page; prunes what removed nodes leave behind. */
  saveHeard(nodes: readonly Node[], uptimeMs: number): void {
    for (const { id, row } of nodes)
      this.#statements.heard.run({ id, lastSeen: row.lastSeen, heardUptime: row.heardUptime });
    saveState(this.#db, { uptimeMs: Math.floor(uptimeMs) });
    if (this.hasOrphans) this.#statements.orphaned.run({ max: ORPHANED_MAX });
  }

  isSuperseded(id: NodeId, instance: InstanceId): boolean {
    return this.#statements.superseded.get({ id, instance }) !== null;
  }
}

/** Prepared once, since thousands of agents may register at once. */
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

/** Prepared once, since thousands of nodes may fall silent at once. */
function statements({ $client: sqlite }: Db) {
  return {
    state: sqlite.query<null, { id: string; state: string }>(
      "UPDATE known_nodes SET published_state = $state WHERE node_id = $id",
    ),
    heard: sqlite.query<null, { id: string; lastSeen: number; heardUptime: number }>(
      "UPDATE known_nodes SET last_seen = $lastSeen, heard_uptime = $heardUptime WHERE node_id = $id",
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

function saveState(db: Db, set: { uptimeMs: number } | Floors): void {
  db.insert(registryState)
    .values({ id: STATE_ID, uptimeMs: 0, epochFloor: 0, ...set })
    .onConflictDoUpdate({ target: registryState.id, set })
    .run();
}

function supersede(db: Db, { nodeId, epoch }: NodeRow, instanceId: string): void {
  db.insert(superseded).values({ nodeId, instanceId, epoch }).onConflictDoNothing().run();
  const kept = db
    .select({ instanceId: superseded.instanceId })
    .from(superseded)
    .where(eq(superseded.nodeId, nodeId))
    .orderBy(desc(superseded.epoch))
    .limit(SUPERSEDED_MAX);
  db.delete(superseded)
    .where(and(eq(superseded.nodeId, nodeId), notInArray(superseded.instanceId, kept)))
    .run();
}
