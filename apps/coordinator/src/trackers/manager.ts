/**
 * All trackers of this coordinator: finds or creates the tracker of a stream, leases ports, ends the processes that a killed
 * coordinator left, forgets streams that are silent for weeks, and stops everything together. (T2, T3, T5, T6)
 */
import { every, LogLimiter, type Timer } from "@fleet/daemon";
import { nodeOfStream, type NodeId, type StreamId, streamIdOf } from "@fleet/protocol";
import { endOrphan, findOrphans } from "@fleet/supervisor";
import { type Feed, PUSHED } from "./feed/feed.ts";
import { isTracker } from "./is-tracker.ts";
import { Tracker } from "./tracker.ts";
import type { TrackerDeps } from "./tracker-deps.ts";
import type { TrackerChange, TrackerRow } from "./tracker-store.ts";

const ORPHAN_GRACE_MS = 500;
const TICK_MS = 1000;
const ROW_FLUSH_TICKS = 30;
const FORGET_TICKS = 3600;
/** How long the result of a search that found no port is reused, because refused streams ask again with every line. */
const NO_PORT_MS = 250;

/** Why a stream is refused a tracker. */
export type Refusal = "unknown_node" | "ports_exhausted" | "draining";
/** Why a pushed stream is refused one: also because its token has provisioned too many, or the config says to fetch it. */
export type PushRefusal = Refusal | "quota" | "fetched";

/** The rules by which streams are provisioned and forgotten. */
export interface ManagerOptions {
  /** Whether a stream that the config does not name gets a tracker. */
  readonly autoProvision: boolean;
  /** Streams that one push token may provision, stopped ones included. (T2) */
  readonly perTokenMax: number;
  /** A stream that the config does not name is forgotten after this long without a frame. */
  readonly forgetAfterMs: number;
  /** The nodes that the config names, and how the frames of their own streams arrive. */
  readonly configured: ReadonlyMap<NodeId, Feed>;
}

/** Owns every `Tracker`. */
export class TrackerManager {
  /** Streams refused, by reason. */
  readonly refused: Record<PushRefusal, number> = {
    unknown_node: 0,
    ports_exhausted: 0,
    draining: 0,
    quota: 0,
    fetched: 0,
  };
  readonly #deps: TrackerDeps;
  readonly #options: ManagerOptions;
  readonly #trackers = new Map<StreamId, Tracker>();
  /** The push token that provisioned each stream, and the number of streams of each token. */
  readonly #tokens = new Map<StreamId, string>();
  readonly #perToken = new Map<string, number>();
  readonly #portsLog: LogLimiter;
  readonly #quotaLog: LogLimiter;
  #noPortUntilMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #ticks = 0;
  #isStopping = false;

  constructor(deps: TrackerDeps, options: ManagerOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#portsLog = new LogLimiter(deps.clock);
    this.#quotaLog = new LogLimiter(deps.clock);
  }

  /**
   * Ends the trackers that a killed coordinator left, restores the leases that are still valid, and creates the configured
   * streams. A stream that the config no longer names continues as an auto-provisioned one.
   */
  async start(): Promise<void> {
    const { store } = this.#deps;
    const rows = store.all();
    const ended = await Promise.all(rows.map((row) => this.#endOrphan(row)));
    await this.#endStrays();
    store.updateAll(ended.filter((change) => change !== undefined));
    store.updateAll(rows.map((row) => this.#restore(row)).filter((change) => change !== undefined));
    const missing = [...this.#options.configured.keys()].filter(
      (node) => !this.#trackers.has(streamIdOf(node)),
    );
    this.#create(missing.map((node) => this.#newRow(streamIdOf(node), "config", null)));
    this.#timer = every(this.#deps.clock, TICK_MS, () => this.#tick());
  }

  async stop(deadlineMs: number): Promise<void> {
    this.#isStopping = true;
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
   * Attaches a source to the tracker of a stream; the source owes one `detach()`. An unknown stream gets a tracker when
   * auto-provisioning is on. When all ports are leased, the stopped stream that has been idle longest loses its port.
   */
  attach(stream: StreamId): Tracker | Refusal {
    return this.#attach(stream, null);
  }

  /** The same for a stream that is pushed with the push token named `token`. (T2) */
  attachPushed(stream: StreamId, token: string): Tracker | PushRefusal {
    if (this.#feedOf(stream).mode === "http") return this.#refuse("fetched");
    if (this.#isOverQuota(stream, token)) {
      const heldBack = this.#quotaLog.pass(nodeOfStream(stream));
      if (heldBack !== undefined) {
        const fields = {
          stream_id: stream,
          token_name: token,
          streams_max: this.#options.perTokenMax,
          held_back: heldBack,
        };
        this.#deps.log.warn(fields, "push token has provisioned all its streams, stream refused");
      }
      return this.#refuse("quota");
    }
    return this.#attach(stream, token);
  }

  #attach(stream: StreamId, token: string | null): Tracker | Refusal {
    if (this.#isStopping) return this.#refuse("draining");
    const isConfigured = this.#isConfigured(stream);
    if (!this.#options.autoProvision && !isConfigured) return this.#refuse("unknown_node");
    const known = this.#trackers.get(stream);
    if (!known?.isActive && !this.#hasPort(stream)) {
      const heldBack = this.#portsLog.pass(nodeOfStream(stream));
      if (heldBack !== undefined) {
        const fields = {
          node_id: nodeOfStream(stream),
          ports: this.#deps.pool.size,
          held_back: heldBack,
        };
        this.#deps.log.warn(fields, "no port left for a tracker, stream refused");
      }
      return this.#refuse("ports_exhausted");
    }
    const tracker = known ?? this.#provision(stream, isConfigured, token);
    return tracker.attach() ? tracker : this.#refuse("ports_exhausted");
  }

  #refuse<R extends PushRefusal>(reason: R): R {
    this.refused[reason]++;
    return reason;
  }

  #isOverQuota(stream: StreamId, token: string): boolean {
    if (this.#trackers.has(stream) || this.#isConfigured(stream)) return false;
    return (this.#perToken.get(token) ?? 0) >= this.#options.perTokenMax;
  }

  #hasPort(stream: StreamId): boolean {
    const { pool, clock } = this.#deps;
    if (pool.renew(stream) !== undefined) return true;
    if (clock.monotonicMs() < this.#noPortUntilMs) return false;
    do {
      if (pool.lease(stream) !== undefined) return true;
      // Another process may have taken the reclaimed port.
    } while (this.#reclaim(stream));
    this.#noPortUntilMs = clock.monotonicMs() + NO_PORT_MS;
    return false;
  }

  #provision(stream: StreamId, isConfigured: boolean, token: string | null): Tracker {
    const source = isConfigured ? "config" : "auto";
    this.#create([this.#newRow(stream, source, isConfigured ? null : token)]);
    this.#deps.log.info({ stream_id: stream, source }, "tracker provisioned");
    return this.#trackers.get(stream)!;
  }

  #newRow(stream: StreamId, source: TrackerRow["source"], token: string | null): TrackerRow {
    return {
      streamId: stream,
      source,
      port: null,
      run: 0,
      pid: null,
      pidStart: null,
      bootId: null,
      createdAt: this.#deps.clock.nowMs(),
      lastFrameAt: null,
      token,
    };
  }

  #create(rows: readonly TrackerRow[]): void {
    this.#deps.store.insert(rows);
    for (const row of rows) this.#remember(row);
  }

  #remember(row: TrackerRow): void {
    const stream = row.streamId as StreamId;
    this.#trackers.set(stream, new Tracker(this.#deps, row, this.#feedOf(stream)));
    if (row.token === null) return;
    this.#tokens.set(stream, row.token);
    this.#perToken.set(row.token, (this.#perToken.get(row.token) ?? 0) + 1);
  }

  /** Restores a tracker from its row. Returns what changes in the row: the source by the present config, a lease that is lost. */
  #restore(row: TrackerRow): TrackerChange | undefined {
    const streamId = row.streamId as StreamId;
    const isConfigured = this.#isConfigured(streamId);
    const source = isConfigured ? "config" : "auto";
    const token = isConfigured ? null : row.token;
    const isLost = row.port !== null && !this.#deps.pool.restore(streamId, row.port);
    const port = isLost ? null : row.port;
    this.#remember({ ...row, source, token, port });
    const isSame = source === row.source && token === row.token && port === row.port;
    return isSame ? undefined : { streamId, source, token, port };
  }

  /** Frees the port of the stopped tracker that has been idle longest. (T3) */
  #reclaim(forStream: StreamId): boolean {
    let idlest: Tracker | undefined;
    for (const tracker of this.#trackers.values()) {
      if (tracker.streamId === forStream || tracker.isActive) continue;
      if (this.#deps.pool.portOf(tracker.streamId) === undefined) continue;
      if (idlest === undefined || tracker.activity.lastActiveMs < idlest.activity.lastActiveMs)
        idlest = tracker;
    }
    if (idlest === undefined) return false;
    this.#deps.log.info({ stream_id: idlest.streamId }, "port reclaimed from an idle stream");
    this.#deps.pool.release(idlest.streamId);
    this.#deps.store.update(idlest.streamId, { port: null });
    return true;
  }

  #isConfigured(stream: StreamId): boolean {
    return this.#options.configured.has(nodeOfStream(stream));
  }

  /** Only a configured node's own stream is fetched; the streams of its sensors are pushed. */
  #feedOf(stream: StreamId): Feed {
    return this.#options.configured.get(stream as string as NodeId) ?? PUSHED;
  }

  async #endOrphan(row: TrackerRow): Promise<TrackerChange | undefined> {
    if (row.pid === null) return undefined;
    const streamId = row.streamId as StreamId;
    const { clock, log } = this.#deps;
    const { pid, pidStart: startTicks, bootId } = row;
    if (startTicks !== null && bootId !== null) {
      const identity = { pid, startTicks, bootId };
      const outcome = await endOrphan(identity, { clock, graceMs: ORPHAN_GRACE_MS });
      log.info({ stream_id: streamId, pid, outcome }, "tracker of an earlier coordinator ended");
    }
    return { streamId, pid: null, pidStart: null, bootId: null };
  }

  /** Ends trackers that no row names: started just before the kill, or while the disk refused writes. */
  async #endStrays(): Promise<void> {
    const { clock, log, pool, options } = this.#deps;
    const strays = findOrphans((argv) =>
      isTracker(argv, options.command, (port) => pool.covers(port)),
    );
    await Promise.all(
      strays.map(async (identity) => {
        const outcome = await endOrphan(identity, { clock, graceMs: ORPHAN_GRACE_MS });
        log.warn(
          { pid: identity.pid, outcome },
          "unrecorded tracker of an earlier coordinator ended",
        );
      }),
    );
  }

  #tick(): void {
    for (const tracker of this.#trackers.values()) {
      // The tracker itself cannot reclaim a port from another stream.
      if (tracker.lacksPort) this.#hasPort(tracker.streamId);
      tracker.tick();
    }
    this.#deps.store.flush();
    this.#ticks++;
    if (this.#ticks % ROW_FLUSH_TICKS === 0) this.#writeLastFrames();
    if (this.#ticks % FORGET_TICKS === 0) this.#forgetSilent();
  }

  /**
   * Forgets streams that the config does not name and that have been silent for long, so that invented ids do not pile up.
   * When the run numbers of such a stream start again at 1, no track file with the old ones is left.
   */
  #forgetSilent(): void {
    const sinceMs = this.#deps.clock.monotonicMs() - this.#options.forgetAfterMs;
    const silent = [...this.#trackers.values()]
      .filter(
        (t) => !t.isActive && t.activity.lastActiveMs < sinceMs && !this.#isConfigured(t.streamId),
      )
      .map((t) => t.streamId);
    this.#deps.store.remove(silent);
    for (const stream of silent) {
      const token = this.#tokens.get(stream);
      if (token !== undefined) this.#perToken.set(token, this.#perToken.get(token)! - 1);
      this.#tokens.delete(stream);
      this.#trackers.get(stream)!.queue.clearRedelivery();
      this.#trackers.delete(stream);
      this.#deps.pool.release(stream);
      this.#deps.log.info({ stream_id: stream }, "silent stream forgotten");
    }
  }

  #writeLastFrames(): void {
    const changed = [...this.#trackers.values()].filter((t) => t.activity.takeChange());
    this.#deps.store.updateAll(
      changed.map(({ streamId, activity }) => ({ streamId, lastFrameAt: activity.lastFrameAtMs })),
    );
  }
}
