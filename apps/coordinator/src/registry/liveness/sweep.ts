/**
 * Finds, among all nodes, those whose time has come: to be told as STALE, DEAD or LIVE again, or to be forgotten. A node is
 * looked at only when its `dueMs` has come, so that a sweep over ten thousand costs next to nothing. Called by registry.ts at
 * each tick. (R4, R5)
 */
import type { NodeState } from "@fleet/protocol";
import { dueMs, newsOf, nodeStateAt } from "./liveness.ts";
import type { Node, RegistryOptions } from "../node.ts";

/** Nodes that age out in one sweep, at most. */
const AGED_MAX = 100;

/** A moment in the coordinator's uptime, ms; `startedMs` is when this run began. */
export interface Moment {
  readonly nowMs: number;
  readonly startedMs: number;
}

/** What is to be done. */
export interface Swept {
  /** Their state is not the one that was published last. */
  readonly changed: readonly { readonly node: Node; readonly state: NodeState }[];
  /** Gone for longer than those of their class are remembered. */
  readonly aged: readonly Node[];
}

/** Where a node stands. */
export function stateAt(node: Node, at: Moment, options: RegistryOptions): NodeState {
  const { heardAtMs, row } = node;
  const heard = { heardAtMs, shutdown: row.shutdownAt !== null };
  return nodeStateAt(heard, at.nowMs, at.startedMs, options);
}

/** Sets `dueMs` of those for which nothing is to be done; the others are due again at the next sweep. */
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
    if (newsOf(state, row.publishedState, heardAtMs !== undefined) !== undefined)
      changed.push({ node, state });
    else if (agedMs > nowMs || !isGone(state))
      node.dueMs = dueMs(heardAtMs ?? startedMs, agedMs, nowMs, options);
    else if (aged.length < AGED_MAX) aged.push(node);
  }
  return { changed, aged };
}

/** After a restart even one that has been silent for long gets its chance to be heard first. */
function isGone(state: NodeState): boolean {
  return state === "DEAD" || state === "SHUTDOWN";
}
