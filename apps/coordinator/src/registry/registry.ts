/**
 * Every node the coordinator has ever met: who it is, which instance of it counts, and when it was last heard. Registers
 * and goodbyes are on disk before they are answered; being heard touches memory and reaches the disk in batches.
 * The only writer of `known_nodes` and `superseded`. (R1, R5–R10)
 */
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import type { InstanceId, NodeId, NodeState, Registration, SensorCounters } from "@fleet/protocol";
import { and, desc, eq, notInArray, sql } from "drizzle-orm";
import type { Bus } from "../bus.ts";
import type { Db } from "../db/open.ts";
import { knownNodes, superseded } from "../db/schema.ts";
import { LogGate } from "../log-gate.ts";
import { type LivenessWindows, nodeStateAt } from "./liveness.ts";

/** Instances of a node that are remembered as replaced. */
const SUPERSEDED_MAX = 16;
/** How often changed `last_seen` times are written. */
const FLUSH_MS = 10_000;
const TICKS_PER_STALE = 10;
const TICK_MS_MAX = 1000;

type Row = typeof knownNodes.$inferSelect;
type Counters = Record<string, SensorCounters>;

/** A node: its row, and what only this process knows. */
export interface Node {
  readonly id: NodeId;
  row: Row;
  /** Monotonic ms. */
  heardAtMs: number | undefined;
  counters: Counters;
  dirty: boolean;
}

/** How long nodes may be silent, and how many plain ones are remembered: whoever has a push token can invent them. */
export interface RegistryOptions extends LivenessWindows {
  readonly plainNodesMax: number;
  /** Nodes that the config names: there is always room for them. */
  readonly configured?: ReadonlySet<NodeId>;
}

/** Whether an instance may speak for its node. */
export type Standing = "current" | "superseded" | "unknown";

/** What became of a plain node's line. The last two are for new nodes: the database takes no writes; there are `plainNodesMax`. */
export type PlainOutcome = "heard" | "has_agent" | "unavailable" | "too_many";

/** What became of a register. */
export type RegisterOutcome =
  | { readonly at: "registered"; readonly epoch: number; readonly created: boolean }
  | { readonly at: "superseded" };

/** Keeps the nodes. Reads are from memory. */
export class Registry {
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #bus: Bus;
  readonly #options: RegistryOptions;
  readonly #nodes = new Map<NodeId, Node>();
  readonly #startedAtMs: number;
  readonly #timers: Timer[] = [];
  #failing = false;
  #plainNodes = 0;
  readonly #refusedLog: LogGate;
  /** Called when a newer instance has taken a node over. */
  onSuperseded: (node: NodeId, current: InstanceId) => void = () => {};

  constructor(db: Db, clock: Clock, log: Log, bus: Bus, options: RegistryOptions) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#bus = bus;
    this.#options = options;
    this.#startedAtMs = clock.monotonicMs();
    this.#refusedLog = new LogGate(clock);
  }

  /** Loads all known nodes, none of them heard yet, and begins to watch for silence. (R2) */
  start(): void {
    for (const row of this.#db.select().from(knownNodes).all()) {
      const id = row.nodeId as NodeId;
      this.#nodes.set(id, { id, row, heardAtMs: undefined, counters: {}, dirty: false });
      if (row.kind === "plain") this.#plainNodes++;
    }
    const tickMs = Math.min(TICK_MS_MAX, this.#options.staleAfterMs / TICKS_PER_STALE);
    this.#timers.push(every(this.#clock, tickMs, () => this.publishTransitions()));
    this.#timers.push(every(this.#clock, FLUSH_MS, () => this.flush()));
    this.#log.info({ nodes: this.#nodes.size }, "registry loaded");
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.flush();
  }

  /** Whether the last write failed: the disk is full, most likely. Tried again at each flush. */
  get failing(): boolean {
    return this.#failing;
  }

  /** All nodes, by id. */
  list(): readonly Node[] {
    return [...this.#nodes.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  get(id: NodeId): Node | undefined {
    return this.#nodes.get(id);
  }

  stateOf(node: Node): NodeState {
    return nodeStateAt(
      { heardAtMs: node.heardAtMs, shutdown: node.row.shutdownAt !== null },
      this.#clock.monotonicMs(),
      this.#startedAtMs,
      this.#options,
    );
  }

  /** Which part `instance` plays in its node's history. (R9) */
  standing(id: NodeId, instance: InstanceId, epoch: number): Standing {
    const node = this.#nodes.get(id);
    if (node === undefined || node.row.kind !== "agent") return "unknown";
    if (node.row.instanceId === instance && node.row.epoch === epoch) return "current";
    return epoch < node.row.epoch || this.#isSuperseded(id, instance) ? "superseded" : "unknown";
  }

  /**
   * Writes the node down. The same instance keeps its epoch, a new one gets the next; one that a newer instance has
   * replaced is refused. A plain node that comes with an agent becomes an agent's. (R1, R9)
   */
  register(registration: Registration): RegisterOutcome {
    const id = registration.node_id;
    const instance = registration.instance_id;
    const known = this.#nodes.get(id);
    const previous = known?.row;
    const isSame = previous?.instanceId === instance;
    if (!isSame && this.#isSuperseded(id, instance)) return { at: "superseded" };
    const nowMs = this.#clock.nowMs();
    const row: Row = {
      nodeId: id,
      kind: "agent",
      name: registration.name ?? null,
      group: registration.group ?? null,
      class: registration.class,
      labels: registration.labels,
      version: registration.version,
      agentUrl: registration.agent_url ?? null,
      platform: registration.platform,
      runtimes: registration.runtimes,
      sensors: registration.sensors,
      capabilities: registration.capabilities,
      instanceId: instance,
      epoch: isSame ? previous.epoch : (previous?.epoch ?? 0) + 1,
      publishedState: "LIVE",
      firstSeen: previous?.firstSeen ?? nowMs,
      lastSeen: nowMs,
      shutdownAt: null,
    };
    this.#write(row, isSame ? undefined : previous);
    if (previous?.kind === "plain") this.#plainNodes--;
    const node = this.#remember(row);
    if (!isSame) node.counters = {};
    this.#announce(node, previous?.publishedState ?? "UNKNOWN");
    if (!isSame && previous?.instanceId != null) this.onSuperseded(id, instance);
    return { at: "registered", epoch: row.epoch, created: previous === undefined };
  }

  /**
   * A plain node spoke. Its row is made when it is new. `has_agent` when the id belongs to a node with an agent: a push
   * token can't speak for that one. (R10)
   */
  heardPlain(id: NodeId): PlainOutcome {
    const known = this.#nodes.get(id);
    if (known !== undefined) {
      if (known.row.kind === "agent") return "has_agent";
      this.#touch(known);
      return "heard";
    }
    const isNamed = this.#options.configured?.has(id) === true;
    if (!isNamed && this.#plainNodes >= this.#options.plainNodesMax) {
      const heldBack = this.#refusedLog.pass("plain");
      if (heldBack !== undefined)
        this.#log.warn({ node_id: id, held_back: heldBack }, "too many plain nodes, node refused");
      return "too_many";
    }
    const nowMs = this.#clock.nowMs();
    const row: Row = {
      nodeId: id,
      kind: "plain",
      name: null,
      group: null,
      class: "persistent",
      labels: {},
      version: null,
      agentUrl: null,
      platform: {},
      runtimes: [],
      sensors: [],
      capabilities: [],
      instanceId: null,
      epoch: 0,
      publishedState: "LIVE",
      firstSeen: nowMs,
      lastSeen: nowMs,
      shutdownAt: null,
    };
    try {
      this.#write(row);
    } catch {
      return "unavailable";
    }
    this.#plainNodes++;
    this.#announce(this.#remember(row), "UNKNOWN");
    return "heard";
  }

  /** The current instance of a node was heard (heartbeat, frames). (R5) */
  heard(id: NodeId, counters?: Counters): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    if (counters !== undefined) node.counters = counters;
    this.#touch(node);
  }

  /** An orderly goodbye of the current instance. On disk when this returns. */
  deregister(id: NodeId): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    const nowMs = this.#clock.nowMs();
    const previous = node.row.publishedState;
    const row: Row = {
      ...node.row,
      publishedState: "SHUTDOWN",
      shutdownAt: nowMs,
      lastSeen: nowMs,
    };
    this.#write(row);
    node.row = row;
    this.#announce(node, previous);
  }

  /** Publishes each node whose state differs from the one published last, once that is on disk. (R5) */
  publishTransitions(): void {
    const changes: { node: Node; state: NodeState; previous: NodeState }[] = [];
    for (const node of this.#nodes.values()) {
      const state = this.stateOf(node);
      const previous = node.row.publishedState;
      if (state !== previous && isNews(node, state)) changes.push({ node, state, previous });
    }
    if (changes.length === 0) return;
    const error = this.#attempt(() => {
      const update = this.#db
        .update(knownNodes)
        .set({ publishedState: sql.placeholder("state") as never })
        .where(eq(knownNodes.nodeId, sql.placeholder("id")))
        .prepare();
      this.#db.transaction(() => {
        for (const { node, state } of changes) update.run({ id: node.id, state });
      });
    });
    // The next tick tries again.
    if (error !== undefined) return;
    for (const { node, state, previous } of changes) {
      node.row.publishedState = state;
      this.#announce(node, previous);
    }
  }

  /** Writes down the `last_seen` of nodes heard since the last flush. A disk that refuses is asked again next time. */
  flush(): void {
    const dirty = [...this.#nodes.values()].filter((n) => n.dirty);
    if (dirty.length === 0 && !this.#failing) return;
    const error = this.#attempt(() => {
      const update = this.#db
        .update(knownNodes)
        .set({ lastSeen: sql.placeholder("lastSeen") as never })
        .where(eq(knownNodes.nodeId, sql.placeholder("id")))
        .prepare();
      this.#db.transaction((tx) => {
        for (const { id, row } of dirty) update.run({ id, lastSeen: row.lastSeen });
        // Writes a page though nothing has changed, so that a disk that works again is noticed.
        if (this.#failing) tx.run(sql`PRAGMA application_id = 0`);
      });
    });
    if (error === undefined) for (const node of dirty) node.dirty = false;
  }

  #touch(node: Node): void {
    node.heardAtMs = this.#clock.monotonicMs();
    node.row.lastSeen = this.#clock.nowMs();
    node.dirty = true;
  }

  #remember(row: Row): Node {
    const id = row.nodeId as NodeId;
    const known = this.#nodes.get(id);
    const node: Node = known ?? { id, row, heardAtMs: undefined, counters: {}, dirty: false };
    node.row = row;
    node.heardAtMs = this.#clock.monotonicMs();
    this.#nodes.set(id, node);
    return node;
  }

  #announce(node: Node, previous: NodeState): void {
    const state = node.row.publishedState;
    if (state === previous) return;
    this.#log.info({ node_id: node.id, state, previous }, "node changed state");
    this.#bus.publish({
      topic: `node.${node.id}.state`,
      atMs: this.#clock.nowMs(),
      data: { node_id: node.id, state, previous_state: previous },
    });
  }

  /** Runs a write and gives the error when the database refuses it. Logged when that begins and when it is over. */
  #attempt(write: () => void): Error | undefined {
    try {
      write();
    } catch (err) {
      if (!this.#failing) this.#log.error({ err }, "the database takes no writes");
      this.#failing = true;
      return err as Error;
    }
    if (this.#failing) this.#log.info({}, "the database takes writes again");
    this.#failing = false;
    return undefined;
  }

  /** Throws what the database throws. */
  #write(row: Row, replaced?: Row): void {
    const error = this.#attempt(() => this.#upsert(row, replaced));
    if (error !== undefined) throw error;
  }

  #upsert(row: Row, replaced?: Row): void {
    this.#db.transaction((tx) => {
      tx.insert(knownNodes)
        .values(row)
        .onConflictDoUpdate({ target: knownNodes.nodeId, set: row })
        .run();
      if (replaced?.instanceId == null) return;
      tx.insert(superseded)
        .values({
          nodeId: row.nodeId,
          instanceId: replaced.instanceId,
          epoch: replaced.epoch,
        })
        .onConflictDoNothing()
        .run();
      const kept = tx
        .select({ instanceId: superseded.instanceId })
        .from(superseded)
        .where(eq(superseded.nodeId, row.nodeId))
        .orderBy(desc(superseded.epoch))
        .limit(SUPERSEDED_MAX);
      tx.delete(superseded)
        .where(and(eq(superseded.nodeId, row.nodeId), notInArray(superseded.instanceId, kept)))
        .run();
    });
  }

  #isSuperseded(id: NodeId, instance: InstanceId): boolean {
    return (
      this.#db
        .select({ epoch: superseded.epoch })
        .from(superseded)
        .where(and(eq(superseded.nodeId, id), eq(superseded.instanceId, instance)))
        .get() !== undefined
    );
  }
}

/** A restart makes every node UNKNOWN for a while, and one that was DEAD before it STALE on its way there: no news. */
function isNews({ heardAtMs, row }: Node, state: NodeState): boolean {
  if (state === "UNKNOWN") return false;
  return heardAtMs !== undefined || state !== "STALE" || row.publishedState !== "DEAD";
}
