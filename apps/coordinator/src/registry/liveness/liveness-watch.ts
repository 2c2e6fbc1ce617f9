/**
 * Watches for silence: publishes each node's change of state, has nodes removed that have aged out, and writes what was heard
 * to disk in batches. Called by the registry. (R2, R4, R5)
 */
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import type { NodeId, NodeState } from "@fleet/protocol";
import type { Committer } from "../../db/commit.ts";
import type { NodeHistory } from "../../db/node-history.ts";
import { stateEvents } from "../node-event.ts";
import type { NodeStore } from "../node-store.ts";
import type { NodeTables } from "../node-tables.ts";
import type { Counters, Node, RegistryOptions } from "../node.ts";
import type { Removal } from "../removal.ts";
import { stateAt, sweep, type Swept } from "./sweep.ts";
import type { Uptime } from "./uptime.ts";

/** How often `last_seen` times that have changed are written. */
const FLUSH_MS = 10_000;
/** Our uptime is written at least this often. */
const UPTIME_FLUSH_MS = 60_000;
/** A stall of this process that is worth a line in the log. */
const STALL_LOG_MS = 5000;

/** The parts the watch works with. */
export interface LivenessDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly commits: Committer;
  readonly tables: NodeTables;
  readonly store: NodeStore;
  readonly history: NodeHistory;
  readonly uptime: Uptime;
  readonly removal: Removal;
  readonly tickMs: number;
  readonly options: RegistryOptions;
}

/** Runs between `start` and `stop`. */
export class LivenessWatch {
  readonly #deps: LivenessDeps;
  readonly #timers: Timer[] = [];
  #uptimeWrittenMs = Number.NEGATIVE_INFINITY;
  #isForgetting = false;

  constructor(deps: LivenessDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, tickMs } = this.#deps;
    this.#timers.push(every(clock, tickMs, () => this.#tick()));
    this.#timers.push(every(clock, FLUSH_MS, () => this.flush()));
  }

  stop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#uptimeWrittenMs = Number.NEGATIVE_INFINITY;
    this.flush();
  }

  stateOf(node: Node): NodeState {
    return stateAt(node, this.#deps.uptime, this.#deps.options);
  }

  /** The current instance of a node was heard: by a heartbeat, a frame, or an answered health question. (R5) */
  heard(id: NodeId, counters?: Counters): void {
    const node = this.#deps.tables.nodes.get(id);
    if (node === undefined) return;
    if (counters !== undefined) node.counters = counters;
    this.#deps.tables.touch(node);
  }

  /** Writes the `last_seen` of the nodes heard since the last flush. When the disk refuses, the next flush tries again. */
  flush(): void {
    const { tables, commits, store, history, uptime } = this.#deps;
    const dirty = [...tables.nodes.values()].filter((node) => node.dirty);
    const { nowMs } = uptime;
    const isDue = nowMs - this.#uptimeWrittenMs >= UPTIME_FLUSH_MS;
    if (dirty.length === 0 && !commits.isFailing && !isDue) return;
    const write = (): void => {
      store.saveHeard(dirty, nowMs);
      history.prune();
    };
    if (!commits.batch(write)) return;
    store.hasOrphans = false;
    for (const node of dirty) node.dirty = false;
    this.#uptimeWrittenMs = nowMs;
  }

  #tick(): void {
    const lostMs = this.#deps.uptime.look();
    if (lostMs >= STALL_LOG_MS)
      this.#deps.log.warn(
        { lost_ms: Math.round(lostMs) },
        "stalled; the time lost does not count as silence of any node",
      );
    this.#sweep();
  }

  /** A change that can't be written is due again at the next tick. */
  #sweep(): void {
    const { tables, uptime, options } = this.#deps;
    const { changed, aged } = sweep(tables.nodes.values(), uptime, options);
    if (changed.length > 0) this.#publish(changed);
    if (aged.length > 0 && !this.#isForgetting) void this.#forget(aged);
  }

  async #forget(aged: readonly Node[]): Promise<void> {
    this.#isForgetting = true;
    await this.#deps.removal.forget(aged);
    this.#isForgetting = false;
  }

  #publish(changed: Swept["changed"]): void {
    const { clock, commits, store } = this.#deps;
    const atMs = clock.nowMs();
    const events = changed.flatMap(({ node, state }) =>
      stateEvents(node.id, atMs, state, node.row.publishedState),
    );
    const write = () => store.saveStates(changed.map(({ node: { id }, state }) => ({ id, state })));
    commits.batch(write, events, () => {
      for (const { node, state } of changed) node.row.publishedState = state;
    });
  }
}
