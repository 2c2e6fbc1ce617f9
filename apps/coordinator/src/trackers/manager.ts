/**
 * All trackers of this coordinator: finds or makes the one for a stream, gives out ports, ends what a killed coordinator
 * left behind, and stops them together. (T2, T3, T5, T6)
 */
import { every, type Timer } from "@fleet/daemon";
import { nodeOfStream, type NodeId, type StreamId, streamIdOf } from "@fleet/protocol";
import { endOrphan } from "@fleet/supervisor";
import { Tracker, type TrackerDeps } from "./tracker.ts";
import type { TrackerRow } from "./tracker-store.ts";

const ORPHAN_GRACE_MS = 500;
const EXHAUSTED_LOG_MS = 60_000;
const TICK_MS = 1000;
const ROW_FLUSH_TICKS = 30;

/** Why a stream gets no tracker. */
export type Refusal = "unknown_node" | "ports_exhausted" | "draining";

/** What the manager is given besides what trackers share. */
export interface ManagerOptions {
  /** Whether a stream that no config names gets a tracker. */
  readonly autoProvision: boolean;
  /** Nodes with a tracker by config. */
  readonly configured: readonly NodeId[];
}

/** Owns every `Tracker`. */
export class TrackerManager {
  /** Streams refused, by reason. */
  readonly refused: Record<Refusal, number> = {
    unknown_node: 0,
    ports_exhausted: 0,
    draining: 0,
  };
  readonly #deps: TrackerDeps;
  readonly #options: ManagerOptions;
  readonly #trackers = new Map<StreamId, Tracker>();
  readonly #exhaustedLoggedMs = new Map<NodeId, number>();
  #timer: Timer | undefined;
  #ticks = 0;
  #stopping = false;

  constructor(deps: TrackerDeps, options: ManagerOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Ends the trackers a killed coordinator left, takes their leases over, and makes the configured ones known. */
  async start(): Promise<void> {
    const rows = this.#deps.store.all();
    await Promise.all(rows.map((row) => this.#endOrphan(row)));
    for (const row of rows) {
      const stream = row.streamId as StreamId;
      if (row.port !== null) this.#deps.pool.restore(stream, row.port);
      this.#trackers.set(stream, new Tracker(this.#deps, row));
    }
    for (const node of this.#options.configured) {
      if (!this.#trackers.has(streamIdOf(node))) this.#create(streamIdOf(node), "config");
    }
    this.#timer = every(this.#deps.clock, TICK_MS, () => this.#tick());
  }

  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    this.#timer?.cancel();
    this.#writeLastFrames();
    await Promise.all([...this.#trackers.values()].map((t) => t.retire(deadlineMs)));
  }

  list(): readonly Tracker[] {
    return [...this.#trackers.values()].toSorted((a, b) => (a.streamId < b.streamId ? -1 : 1));
  }

  get(stream: StreamId): Tracker | undefined {
    return this.#trackers.get(stream);
  }

  /**
   * The tracker of a stream with a source attached to it: the caller owes one `detach()`. An unknown stream gets a tracker
   * when auto-provisioning is on. When all ports are leased, the stopped stream that has been idle longest gives its up.
   */
  attach(stream: StreamId): Tracker | Refusal {
    if (this.#stopping) {
      this.refused.draining++;
      return "draining";
    }
    const known = this.#trackers.get(stream);
    if (known === undefined && !this.#options.autoProvision && !this.#isConfigured(stream)) {
      this.refused.unknown_node++;
      return "unknown_node";
    }
    if (!known?.active && !this.#hasPort(stream)) {
      this.#logExhausted(nodeOfStream(stream));
      this.refused.ports_exhausted++;
      return "ports_exhausted";
    }
    const tracker = known ?? this.#create(stream, this.#isConfigured(stream) ? "config" : "auto");
    return tracker.attach() ? tracker : "ports_exhausted";
  }

  #hasPort(stream: StreamId): boolean {
    const { pool } = this.#deps;
    return (
      pool.lease(stream) !== undefined ||
      (this.#reclaim(stream) && pool.lease(stream) !== undefined)
    );
  }

  #create(stream: StreamId, source: "config" | "auto"): Tracker {
    const row: TrackerRow = {
      streamId: stream,
      source,
      port: null,
      run: 0,
      pid: null,
      pidStart: null,
      bootId: null,
      createdAt: this.#deps.clock.nowMs(),
      lastFrameAt: null,
    };
    this.#deps.store.insert(row);
    const tracker = new Tracker(this.#deps, row);
    this.#trackers.set(stream, tracker);
    this.#deps.log.info({ stream_id: stream, source }, "tracker provisioned");
    return tracker;
  }

  /** Frees the port of the stopped tracker that has been idle longest. (T3) */
  #reclaim(forStream: StreamId): boolean {
    let idlest: Tracker | undefined;
    for (const tracker of this.#trackers.values()) {
      if (tracker.streamId === forStream || tracker.active) continue;
      if (this.#deps.pool.portOf(tracker.streamId) === undefined) continue;
      if (idlest === undefined || tracker.lastActiveMs < idlest.lastActiveMs) idlest = tracker;
    }
    if (idlest === undefined) return false;
    this.#deps.log.info({ stream_id: idlest.streamId }, "idle stream gives its port up");
    this.#deps.pool.release(idlest.streamId);
    this.#deps.store.update(idlest.streamId, { port: null });
    return true;
  }

  /** Once a minute for each node. */
  #logExhausted(node: NodeId): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const [id, atMs] of this.#exhaustedLoggedMs) {
      if (nowMs - atMs >= EXHAUSTED_LOG_MS) this.#exhaustedLoggedMs.delete(id);
    }
    if (this.#exhaustedLoggedMs.has(node)) return;
    this.#exhaustedLoggedMs.set(node, nowMs);
    const ports = this.#deps.pool.size;
    this.#deps.log.warn({ node_id: node, ports }, "no port left for a tracker, stream refused");
  }

  #isConfigured(stream: StreamId): boolean {
    return this.#options.configured.includes(nodeOfStream(stream));
  }

  async #endOrphan(row: TrackerRow): Promise<void> {
    if (row.pid === null || row.pidStart === null || row.bootId === null) return;
    const identity = { pid: row.pid, startTicks: row.pidStart, bootId: row.bootId };
    const outcome = await endOrphan(identity, {
      clock: this.#deps.clock,
      graceMs: ORPHAN_GRACE_MS,
    });
    this.#deps.log.info({ stream_id: row.streamId, pid: row.pid, outcome }, "earlier tracker");
    const stream = row.streamId as StreamId;
    this.#deps.store.update(stream, { pid: null, pidStart: null, bootId: null });
  }

  #tick(): void {
    for (const tracker of this.#trackers.values()) tracker.tick();
    if (++this.#ticks % ROW_FLUSH_TICKS === 0) this.#writeLastFrames();
  }

  #writeLastFrames(): void {
    const changed = [...this.#trackers.values()].filter((t) => t.takeLastFrame());
    this.#deps.store.updateLastFrames(changed);
  }
}
