/**
 * What decides whether one more node may enter, as a single row for `commit`: how many nodes there are, and the epochs that
 * nodes which are not known begin above. Pure. Whoever has a token can invent nodes, hence the limits. (R4, R10)
 */
import type { NodeId } from "@fleet/protocol";
import type { NodeRow, RegistryOptions } from "../node.ts";
import type { Floors } from "./epochs.ts";

/** Maximum number of blocked node ids. */
export const BLOCKED_MAX = 10_000;

/** Counts of the nodes and blocks that are known, and the floors. Only the floors are on disk. */
export interface Admission extends Floors {
  readonly agent: number;
  readonly plain: number;
  readonly blocked: number;
}

/** Before anything is loaded. */
export const NOTHING_ADMITTED: Admission = {
  agent: 0,
  plain: 0,
  blocked: 0,
  epochFloor: 0,
  voidFloor: 0,
};

/** Whether there is no room for one more node of a kind. There is always room for a node that the config names. */
export function isFull(
  admission: Admission,
  kind: NodeRow["kind"],
  id: NodeId,
  { plainNodesMax, agentNodesMax, configured }: RegistryOptions,
): boolean {
  const max = kind === "plain" ? plainNodesMax : agentNodesMax;
  return admission[kind] >= max && configured?.has(id) !== true;
}

/** The counts after the row of a node has changed from `previous` to `next`; undefined stands for no row. */
export function recount(
  admission: Admission,
  previous: NodeRow | undefined,
  next: NodeRow | undefined,
): Admission {
  const counts = { ...admission };
  if (previous !== undefined) counts[previous.kind]--;
  if (next !== undefined) counts[next.kind]++;
  return counts;
}
