/**
 * Every node the coordinator has met: who it is, which instance of it counts, and when it was last heard. Registers,
 * goodbyes, removals and blocks are on disk before they are answered; being heard touches memory and reaches the disk in
 * batches. What befalls a node is written down with it and then published as `node.<id>.<event>`. (R1–R5, R7, R9, R10)
 */
import { type Clock, Counts, every, type Log, type Timer } from "@fleet/daemon";
import type { InstanceId, NodeEvent, NodeId, NodeState } from "@fleet/protocol";
import type { Bus } from "../bus.ts";
import type { Db } from "../db/open.ts";
import { type Arrival, RegisterBatcher } from "./enrolment/register-batcher.ts";
import { TakeoverGuard } from "./enrolment/takeover-guard.ts";
import * as epochs from "./enrolment/epochs.ts";
import { arrivalNews, type Happening, inWords, stateNews } from "./node-event.ts";
import type {
  AgentRegistration,
  Counters,
  Node,
  NodeRow,
  PlainOutcome,
  Proof,
  RegisterOutcome,
  RegistryOptions,
  Standing,
} from "./node.ts";
import { type Admission, type BlockedRow, newAgents, NodeStore } from "./node-store.ts";
import { Nodes } from "./nodes.ts";
import { BLOCKED_MAX, NodeQuota } from "./enrolment/node-quota.ts";
import { agentRow, newNode, plainRow, shutdownRow } from "./rows.ts";
import { stateAt, sweep, type Swept } from "./liveness/sweep.ts";
import { TICKS_LATE_MAX, Uptime } from "./liveness/uptime.ts";

/** How often changed `last_seen` times are written. */
const FLUSH_MS = 10_000;
/** Our uptime is written at least this often. */
const UPTIME_FLUSH_MS = 60_000;
const TICKS_PER_STALE = 10;
const TICK_MS_MAX = 1000;
/** Time lost that is worth a line in the log. */
const STALL_LOG_MS = 5000;

/** Keeps the nodes. Reads are from memory, but for the history. */
export class Registry {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #bus: Bus;
  readonly #options: RegistryOptions;
  readonly #store: NodeStore;
  readonly #tickMs: number;
  readonly #nodes = new Nodes();
  readonly #blocked = new Map<NodeId, BlockedRow>();
  readonly #batcher = new RegisterBatcher((arrivals) => this.#registerAll(arrivals));
  readonly #timers: Timer[] = [];
  readonly #quota: NodeQuota;
  readonly #takeovers: TakeoverGuard;
  #uptime: Uptime;
  #uptimeWrittenMs = Number.NEGATIVE_INFINITY;
  #floors: epochs.Floors = { epochFloor: 0, voidFloor: 0 };
  /** What instances that may not speak for their nodes were refused for. (R9) */
  readonly refused = new Counts();
  /** Called when a newer instance has taken a node over; tells whether the older one was connected. */
  onSuperseded: (node: NodeId, current: InstanceId | null) => boolean = () => false;
  /** Called when nodes were removed: nobody may speak for them until they come anew. */
  onRemoved: (nodes: ReadonlySet<NodeId>) => void = () => {};

  constructor(db: Db, clock: Clock, log: Log, bus: Bus, options: RegistryOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#bus = bus;
    this.#options = options;
    this.#store = new NodeStore(db, log);
    this.#tickMs = Math.min(TICK_MS_MAX, options.staleAfterMs / TICKS_PER_STALE);
    this.#uptime = new Uptime(clock, 0, this.#tickMs * TICKS_LATE_MAX);
    this.#quota = new NodeQuota(clock, log, options);
    this.#takeovers = new TakeoverGuard(clock, log);
  }

  /** Loads all known nodes, none of them heard yet, and begins to watch for silence. (R2) */
  start(): void {
    const { rows, blocked, uptimeMs, floors } = this.#store.load();
    this.#uptime = new Uptime(this.#clock, uptimeMs, this.#tickMs * TICKS_LATE_MAX);
    this.#floors = floors;
    for (const row of rows) {
      this.#nodes.set(row.nodeId as NodeId, newNode(row));
      this.#quota.take(row.kind);
    }
    for (const row of blocked) this.#blocked.set(row.nodeId as NodeId, row);
    this.#timers.push(every(this.#clock, this.#tickMs, () => this.#tick()));
    this.#timers.push(every(this.#clock, FLUSH_MS, () => this.flush()));
    this.#log.info({ nodes: this.#nodes.size, blocked: this.#blocked.size }, "registry loaded");
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#uptimeWrittenMs = Number.NEGATIVE_INFINITY;
    this.flush();
  }

  /** Whether the last write failed: the disk is full, most likely. Tried again at each flush. */
  get failing(): boolean {
    return this.#store.failing;
  }

  /** By id: all nodes, or `max` of those behind `id`, which need not be there. */
  list(id?: NodeId, max = Number.POSITIVE_INFINITY): readonly Node[] {
    return this.#nodes.after(id, max);
  }

  get(id: NodeId): Node | undefined {
    return this.#nodes.get(id);
  }

  /** The latest of what befell a node, newest first; from the disk. */
  history(id: NodeId, limit: number): readonly NodeEvent[] {
    return this.#store.history(id, limit);
  }

  stateOf(node: Node): NodeState {
    return stateAt(node, this.#uptime, this.#options);
  }

  /** Which part `instance` plays in its node's history. (R9) */
  standing(id: NodeId, instance: InstanceId, epoch: number): Standing {
    if (this.#blocked.has(id)) return this.#refuse("blocked");
    const node = this.#nodes.get(id);
    if (node === undefined || node.row.kind !== "agent") return "unknown";
    if (node.row.instanceId === instance && node.row.epoch === epoch) return "current";
    if (epoch >= node.row.epoch && !this.#store.isSuperseded(id, instance)) return "unknown";
    this.#lives(id, instance);
    return this.#refuse("superseded");
  }

  /**
   * Writes the node down. The same instance keeps its epoch, a new one gets the next; one that a newer instance has
   * replaced is refused, as is any new one while the node is contested and the instance that has it is LIVE, and a new node
   * when there are `agentNodesMax`. A plain node may become an agent's. Throws what the database throws. (R1, R9)
   */
  register(registration: AgentRegistration, proof: Proof = "enrolment"): RegisterOutcome {
    return this.#registerAll([{ registration, proof }])[0]!;
  }

  /** As `register`, with all that come in this turn of the event loop in one commit. `busy` when too many do. */
  registerSoon(registration: AgentRegistration, proof: Proof): Promise<RegisterOutcome> {
    return this.#batcher.add({ registration, proof });
  }

  #registerAll(arrivals: readonly Arrival[]): readonly RegisterOutcome[] {
    const admissions: Admission[] = [];
    const plans = arrivals.map((arrival) => {
      const plan = this.#plan(arrival, admissions);
      if ("row" in plan) admissions.push(plan);
      return plan;
    });
    if (admissions.length > 0) this.#store.admit(admissions);
    return plans.map((plan) => ("row" in plan ? this.#admit(plan) : plan));
  }

  /** `ahead` are on their way in already. */
  #plan({ registration, proof }: Arrival, ahead: Admission[]): Admission | RegisterOutcome {
    const id = registration.node_id;
    const barred = this.barred(id, registration.instance_id);
    if (barred !== undefined) return { at: barred };
    const known = this.#nodes.get(id);
    const previous = known?.row;
    const isSame = epochs.isSameAgent(previous, registration);
    const isTakeover = !isSame && known !== undefined && this.stateOf(known) === "LIVE";
    if (isTakeover && this.#takeovers.refuses(id))
      return { at: this.#refuse("contested"), by: known.row.platform["hostname"] };
    if (previous?.kind !== "agent" && this.#quota.isFull("agent", id, newAgents(ahead)))
      return { at: this.#refuse("too_many_nodes") };
    const fence = epochs.fenceAfter(this.#floors, previous, isSame, proof);
    const row = agentRow(registration, fence, previous, this.#nowOfRow());
    return { row, happenings: arrivalNews(row, previous, proof), previous };
  }

  /** Once it is on disk. */
  #admit({ row, happenings, previous }: Admission): RegisterOutcome {
    if (previous !== undefined) this.#quota.leave(previous.kind);
    this.#quota.take("agent");
    const node = this.#remember(row);
    const instance = row.instanceId as InstanceId | null;
    const replaced = previous?.instanceId as InstanceId | null | undefined;
    if (previous?.epoch !== row.epoch) node.counters = {};
    this.#publish(happenings);
    if (replaced != null && replaced !== instance && this.onSuperseded(node.id, instance))
      this.#lives(node.id, replaced);
    return { at: "registered", epoch: row.epoch, created: previous === undefined };
  }

  /**
   * A plain node spoke. Its row is made when it is new, in `group`. `has_agent` when the id belongs to an agent that has
   * credentials of its own: a push token can't speak for that one. (R10)
   */
  heardPlain(id: NodeId, group: string | null = null): PlainOutcome {
    if (this.#blocked.has(id)) return "blocked";
    const known = this.#nodes.get(id);
    if (known !== undefined) {
      if (known.row.kind === "agent" && known.row.instanceId !== null) return "has_agent";
      this.#touch(known);
      return "heard";
    }
    if (this.#quota.isFull("plain", id)) return "too_many";
    const row = plainRow(id, group, this.#floors.voidFloor, this.#nowOfRow());
    const happenings = arrivalNews(row, undefined, undefined);
    try {
      this.#store.save(row, happenings);
    } catch {
      return "unavailable";
    }
    this.#quota.take("plain");
    this.#remember(row);
    this.#publish(happenings);
    return "heard";
  }

  /** Why an instance can't have its node, whatever it shows. (R4, R9) */
  barred(id: NodeId, instance: InstanceId | null): "blocked" | "superseded" | undefined {
    if (this.#blocked.has(id)) return this.#refuse("blocked");
    if (instance === null || this.#nodes.get(id)?.row.instanceId === instance) return undefined;
    if (!this.#store.isSuperseded(id, instance)) return undefined;
    this.#lives(id, instance);
    return this.#refuse("superseded");
  }

  /** Whether a refresh token issued at `epoch` is still good: not once its node was removed or enrolled anew. (H5) */
  honours(id: NodeId, epoch: number): boolean {
    return epoch > (this.#nodes.get(id)?.row.voidEpoch ?? this.#floors.voidFloor);
  }

  /** The current instance of a node was heard (heartbeat, frames, an answered probe). (R5) */
  heard(id: NodeId, counters?: Counters): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    if (counters !== undefined) node.counters = counters;
    this.#touch(node);
  }

  /** An orderly goodbye of the current instance. On disk when this returns; throws what the database throws. */
  deregister(id: NodeId): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    const now = this.#nowOfRow();
    const row = shutdownRow(node.row, now);
    const happenings = stateNews(id, now.lastSeen, "SHUTDOWN", node.row.publishedState);
    this.#store.save(row, happenings);
    node.row = row;
    this.#publish(happenings);
  }

  /**
   * Forgets a node at once, whatever its state; false when there is none. It may come back, with a higher epoch. Throws
   * what the database throws. (R4)
   */
  remove(id: NodeId): boolean {
    const node = this.#nodes.get(id);
    if (node !== undefined) this.#remove([node], "operator", []);
    return node !== undefined;
  }

  /**
   * Forgets a node, known or not, and lets nobody use its id until it is unblocked; false when there are as many blocked
   * as may be. Throws what the database throws. (R4)
   */
  block(id: NodeId): boolean {
    if (this.#blocked.has(id)) return true;
    if (this.#blocked.size >= BLOCKED_MAX) return false;
    const node = this.#nodes.get(id);
    const row: BlockedRow = { nodeId: id, blockedAt: this.#clock.nowMs() };
    this.#remove(node === undefined ? [] : [node], "operator", [row]);
    return true;
  }

  /** Lets an id be used again; false when it was not blocked. Throws what the database throws. (R4) */
  unblock(id: NodeId): boolean {
    if (!this.#blocked.has(id)) return false;
    const news = this.#happening(id, "unblocked", {});
    this.#store.unblock(id, news);
    this.#blocked.delete(id);
    this.#publish([news]);
    return true;
  }

  /** The ids that nobody may use, in order. */
  blocked(): readonly BlockedRow[] {
    return [...this.#blocked.values()].toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  }

  /** Writes down the `last_seen` of nodes heard since the last flush. A disk that refuses is asked again next time. */
  flush(): void {
    const dirty = [...this.#nodes.values()].filter((n) => n.dirty);
    const { nowMs } = this.#uptime;
    const isDue = nowMs - this.#uptimeWrittenMs >= UPTIME_FLUSH_MS;
    if (dirty.length === 0 && !this.failing && !isDue) return;
    if (!this.#store.saveHeard(dirty, nowMs)) return;
    for (const node of dirty) node.dirty = false;
    this.#uptimeWrittenMs = nowMs;
  }

  #tick(): void {
    const lostMs = this.#uptime.look();
    if (lostMs >= STALL_LOG_MS)
      this.#log.warn({ lost_ms: Math.round(lostMs) }, "stalled; no node is held silent for it");
    this.#sweep();
  }

  /** What can't be written is due again at the next tick. */
  #sweep(): void {
    const { changed, aged } = sweep(this.#nodes.values(), this.#uptime, this.#options);
    if (changed.length > 0) this.#publishStates(changed);
    try {
      if (aged.length > 0) this.#remove(aged, "aged_out", []);
    } catch {
      // The log has heard of it.
    }
  }

  #publishStates(changed: Swept["changed"]): void {
    const atMs = this.#clock.nowMs();
    const changes = changed.map(({ node, state }) => ({ id: node.id, state }));
    const happenings = changed.flatMap(({ node, state }) =>
      stateNews(node.id, atMs, state, node.row.publishedState),
    );
    if (!this.#store.saveStates(changes, happenings)) return;
    for (const { node, state } of changed) node.row.publishedState = state;
    this.#publish(happenings);
  }

  #remove(
    nodes: readonly Node[],
    cause: epochs.RemovalCause,
    blocked: readonly BlockedRow[],
  ): void {
    const ids = new Set(nodes.map((n) => n.id));
    const rows = nodes.map((n) => n.row);
    const floors = epochs.floorsAfter(this.#floors, rows, cause);
    const happenings = [
      ...nodes.map((n) => this.#happening(n.id, "removed", { cause })),
      ...blocked.map((b) => this.#happening(b.nodeId as NodeId, "blocked", {})),
    ];
    this.#store.remove([...ids], happenings, floors, blocked);
    this.#floors = floors;
    for (const { id, row } of nodes) {
      this.#nodes.delete(id);
      this.#takeovers.forget(id);
      this.#quota.leave(row.kind);
    }
    for (const row of blocked) this.#blocked.set(row.nodeId as NodeId, row);
    this.#batcher.turnBack(ids);
    if (ids.size > 0) this.onRemoved(ids);
    this.#publish(happenings);
  }

  /** An instance that was replaced has shown that it lives. */
  #lives(id: NodeId, instance: InstanceId): void {
    if (!this.#takeovers.lives(id, instance)) return;
    const news = [this.#happening(id, "contested", {})];
    if (this.#store.saveStates([], news)) this.#publish(news);
  }

  #refuse<R extends string>(reason: R): R {
    this.refused.add(reason);
    return reason;
  }

  #touch(node: Node): void {
    const { nowMs } = this.#uptime;
    node.heardAtMs = nowMs;
    if (node.row.publishedState !== "LIVE") node.dueMs = nowMs;
    node.row.heardUptime = Math.floor(nowMs);
    node.row.lastSeen = this.#clock.nowMs();
    node.dirty = true;
  }

  /** What a row says of the moment in which its node is heard. */
  #nowOfRow(): Pick<NodeRow, "lastSeen" | "heardUptime"> {
    return { lastSeen: this.#clock.nowMs(), heardUptime: Math.floor(this.#uptime.nowMs) };
  }

  #remember(row: NodeRow): Node {
    const id = row.nodeId as NodeId;
    const node = this.#nodes.get(id) ?? newNode(row);
    node.row = row;
    node.heardAtMs = this.#uptime.nowMs;
    node.dueMs = node.heardAtMs;
    this.#nodes.set(id, node);
    return node;
  }

  #happening(nodeId: NodeId, event: NodeEvent["event"], data: NodeEvent["data"]): Happening {
    return { nodeId, at: this.#clock.nowMs(), event, data };
  }

  #publish(happenings: readonly Happening[]): void {
    for (const happening of happenings) {
      const { said, topic, data } = inWords(happening);
      this.#log.info(data, said);
      this.#bus.publish({ topic, atMs: happening.at, data });
    }
  }
}
