/**
 * Finds the nodes whose state has changed and those that have aged out. A node is examined only once its `dueMs` has passed, so a sweep
 * over ten thousand nodes costs almost nothing. Called by the liveness watch at each tick. (R4, R5)
 */
import type { NodeState } from "@fleet/protocol";
import { dueMs, stateToPublish, nodeStateAt } from "./liveness.ts";
import type { Node, RegistryOptions } from "../node.ts";

/** Maximum number of nodes that age out in one sweep. */
const AGED_MAX = 100;

/** A moment in the coordinator's uptime, ms; `startedMs` is when this run began. */
export interface Moment {
  readonly nowMs: number;
  readonly startedMs: number;
}

/** The result of a sweep. */
export interface Swept {
  /** Nodes whose state differs from the one published last. */
  readonly changed: readonly { readonly node: Node; readonly state: NodeState }[];
  /** Nodes that have been silent for longer than the retention of their class. */
  readonly aged: readonly Node[];
}

/** The state of a node. */
export function stateAt(node: Node, at: Moment, options: RegistryOptions): NodeState {
  const { heardAtMs, row } = node;
  const heard = { heardAtMs, isShutdown: row.shutdownAt !== null };
  return nodeStateAt(heard, at.nowMs, at.startedMs, options);
}

/** Sweeps. Sets `dueMs` of the nodes that are in neither result; the others stay due. */
export function sweep(
  nodes: Iterable<Node>,
  { nowMs, startedMs }: Moment,
  options: RegistryOptions,
): Swept {
  const at = { nowMs, startedMs };
  const changed: { node: Node; state: NodeState }[] = [];
  const aged: Node[] = [];
  for (const node of nodes) {
    if (node.dueMs > nowMs) continue;
    const { row, heardAtMs } = node;
    const state = stateAt(node, at, options);
    const agedMs = row.heardUptime + options.retentionMs[row.class];
    if (stateToPublish(state, row.publishedState, heardAtMs !== undefined) !== undefined)
      changed.push({ node, state });
    else if (agedMs > nowMs || !isGone(state))
      node.dueMs = dueMs(heardAtMs ?? startedMs, agedMs, nowMs, options);
    else if (aged.length < AGED_MAX) aged.push(node);
  }
  return { changed, aged };
}

/** A node that is UNKNOWN or STALE is never removed: after a restart it first gets the full windows to be heard. */
function isGone(state: NodeState): boolean {
  return state === "DEAD" || state === "SHUTDOWN";
}
