/**
 * Every node the coordinator has met: its identity, which instance of it counts, and when it was last heard. Registers,
 * goodbyes, removals and blocks are on disk before they are answered; being heard touches memory and reaches the disk in
 * batches. Changes are published as `node.<id>.<event>`. Used by the HTTP API, the frame port and the metrics. (R1–R5, R7–R10)
 */
import { type Clock, Counts, type Hook, type Log, type Service } from "@fleet/daemon";
import type { InstanceId, NodeEventView, NodeId, NodeState } from "@fleet/protocol";
import type { Committer } from "../db/commit.ts";
import { NodeHistory } from "../db/node-history.ts";
import type { Db } from "../db/open.ts";
import { Enrolment } from "./enrolment/enrolment.ts";
import { TakeoverGuard } from "./enrolment/takeover-guard.ts";
import { LivenessWatch } from "./liveness/liveness-watch.ts";
import { TICKS_LATE_MAX, Uptime } from "./liveness/uptime.ts";
import { NodeStore } from "./node-store.ts";
import { NodeTables } from "./node-tables.ts";
import type {
  AgentRegistration,
  BlockedRow,
  Counters,
  Node,
  PlainOutcome,
  Proof,
  RegisterOutcome,
  RegistryOptions,
  Standing,
} from "./node.ts";
import { Removal } from "./removal.ts";

const TICKS_PER_STALE = 10;
const TICK_MS_MAX = 1000;

/** What a registry is built on. */
export interface RegistryDeps {
  readonly db: Db;
  readonly commits: Committer;
  readonly clock: Clock;
  readonly log: Log;
}

/** Builds a registry and its parts. */
export function createRegistry(deps: RegistryDeps, options: RegistryOptions): Registry {
  const { db, clock, log } = deps;
  const tickMs = Math.min(TICK_MS_MAX, options.staleAfterMs / TICKS_PER_STALE);
  const uptime = new Uptime(clock, tickMs * TICKS_LATE_MAX);
  const store = new NodeStore(db);
  const tables = new NodeTables(store, clock, uptime);
  const takeovers = new TakeoverGuard(clock, log);
  const refused = new Counts();
  const history = new NodeHistory(db);
  const parts = { ...deps, options, uptime, store, history, tables, takeovers, refused };
  const enrolment = new Enrolment(parts);
  const removal = new Removal({ ...parts, enrolment });
  const liveness = new LivenessWatch({ ...parts, removal, tickMs });
  return new Registry({ ...parts, enrolment, removal, liveness });
}

interface Parts extends RegistryDeps {
  readonly uptime: Uptime;
  readonly store: NodeStore;
  readonly tables: NodeTables;
  readonly history: NodeHistory;
  readonly refused: Counts;
  readonly enrolment: Enrolment;
  readonly removal: Removal;
  readonly liveness: LivenessWatch;
}

/** What the rest of the coordinator sees of the parts. Reads are from memory, except the history. */
export class Registry implements Service {
  /** Requests of instances that may not speak for their nodes, by the reason they were refused for. (R9) */
  readonly refused: Counts;
  /** Called with a node and its new instance when that has replaced another. A listener returns whether the other was connected. */
  readonly superseded: Hook<[NodeId, InstanceId | null], boolean>;
  /** Called with nodes that were removed: nobody may speak for them until they enter again. */
  readonly removed: Hook<[ReadonlySet<NodeId>]>;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.refused = parts.refused;
    this.superseded = parts.enrolment.superseded;
    this.removed = parts.removal.removed;
  }

  /** Loads all known nodes, none of them heard yet, and begins to watch for silence. (R2) */
  start(): void {
    const { store, uptime, tables, liveness, log } = this.#parts;
    const stored = store.load();
    uptime.start(stored.uptimeMs);
    tables.load(stored);
    liveness.start();
    log.info({ nodes: tables.nodes.size, blocked: tables.blocked.size }, "registry loaded");
  }

  async stop(): Promise<void> {
    this.#parts.commits.flush();
    this.#parts.liveness.stop();
  }

  /** Whether the last write failed, most likely because the disk is full. Each flush tries again. */
  get isFailing(): boolean {
    return this.#parts.commits.isFailing;
  }

  /** At most `max` nodes whose ids sort after `id`, in order; `id` need not exist. Without arguments, all nodes. */
  list(id?: NodeId, max = Number.POSITIVE_INFINITY): readonly Node[] {
    return this.#parts.tables.nodes.after(id, max);
  }

  get(id: NodeId): Node | undefined {
    return this.#parts.tables.nodes.get(id);
  }

  /** The newest `limit` events of a node, newest first, from the disk. */
  history(id: NodeId, limit: number): readonly NodeEventView[] {
    return this.#parts.history.list(id, limit);
  }

  stateOf(node: Node): NodeState {
    return this.#parts.liveness.stateOf(node);
  }

  /** Whether `instance` may speak for its node. Counts it as refused when it may not. (R9) */
  standing(id: NodeId, instance: InstanceId, epoch: number): Standing {
    return this.#parts.enrolment.standing(id, instance, epoch);
  }

  /** Why an instance may not have its node, whatever it shows; undefined when it may. Counts it as refused. (R4, R9) */
  barred(id: NodeId, instance: InstanceId | null): "blocked" | "superseded" | undefined {
    return this.#parts.enrolment.barred(id, instance);
  }

  /** Whether a refresh token issued at `epoch` is valid: not once its node was removed or enrolled again. (H5) */
  honours(id: NodeId, epoch: number): boolean {
    return this.#parts.enrolment.honours(id, epoch);
  }

  /** Registers an agent's instance. Rejects with the database's error. (R1, R9) */
  register(registration: AgentRegistration, proof: Proof = "enrolment"): Promise<RegisterOutcome> {
    return this.#parts.enrolment.register(registration, proof);
  }

  /** A plain node sent a line. A node that is not known enters, in `group`, and is on disk when this returns. (R10) */
  heardPlain(id: NodeId, group: string | null = null): PlainOutcome {
    return this.#parts.enrolment.heardPlain(id, group);
  }

  /** The current instance of a node was heard: by a heartbeat, a frame, or an answered health question. (R5) */
  heard(id: NodeId, counters?: Counters): void {
    this.#parts.liveness.heard(id, counters);
  }

  /** The current instance says goodbye: the node is SHUTDOWN. Rejects with the database's error. (R5) */
  deregister(id: NodeId): Promise<void> {
    return this.#parts.removal.deregister(id);
  }

  /** Removes a node in any state; false when it is not known. Rejects with the database's error. (R4) */
  remove(id: NodeId): Promise<boolean> {
    return this.#parts.removal.remove(id);
  }

  /** Blocks an id, known or not, and removes its node; false when BLOCKED_MAX are. Rejects with the database's error. (R4) */
  block(id: NodeId): Promise<boolean> {
    return this.#parts.removal.block(id);
  }

  /** Lets an id be used again; false when it is not blocked. Rejects with the database's error. (R4) */
  unblock(id: NodeId): Promise<boolean> {
    return this.#parts.removal.unblock(id);
  }

  /** The ids that nobody may use, in order. */
  blocked(): readonly BlockedRow[] {
    const rows = [...this.#parts.tables.blocked.values()];
    return rows.toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  }
}
