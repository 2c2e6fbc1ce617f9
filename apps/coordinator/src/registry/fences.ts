/**
 * Which of a node's instances and credentials count. An epoch fences off the instances before it; a void epoch, the refresh
 * tokens that were issued up to it. Both only rise. Pure; called by registry.ts. (R4, R9, H5)
 */
import type { InstanceId } from "@fleet/protocol";
import type { NodeRow, Proof } from "./node.ts";

/** What holds for nodes that are not known: epochs they begin above, and those of refresh tokens that are void. */
export interface Floors {
  readonly epochFloor: number;
  readonly voidFloor: number;
}

/** Who had a node removed. */
export type RemovalCause = "operator" | "aged_out";

type Fence = Pick<NodeRow, "epoch" | "voidEpoch">;

/** The fence of a node after a register; `previous` is its row before. */
export function fenceAfter(
  floors: Floors,
  previous: NodeRow | undefined,
  instance: InstanceId,
  proof: Proof,
): Fence {
  if (previous?.instanceId === instance) return previous;
  const before = Math.max(previous?.epoch ?? 0, floors.epochFloor);
  // Who could not show the node's own token has lost it, or somebody else has it.
  const voidEpoch = proof === "enrolment" ? before : (previous?.voidEpoch ?? floors.voidFloor);
  return { epoch: before + 1, voidEpoch };
}

/** The floors after these nodes were removed. Of one that aged out, the tokens stay good: it may only have slept. */
export function floorsAfter(
  { epochFloor, voidFloor }: Floors,
  removed: readonly NodeRow[],
  cause: RemovalCause,
): Floors {
  const voidEpochs = removed.map((row) => (cause === "operator" ? row.epoch : row.voidEpoch));
  return {
    epochFloor: Math.max(epochFloor, ...removed.map((row) => row.epoch)),
    voidFloor: Math.max(voidFloor, ...voidEpochs),
  };
}
