/**
 * Which of a node's instances and credentials count. An epoch fences off the instances before it; a void epoch, the refresh
 * tokens that were issued up to it. Both only rise. Pure; called by registry.ts. (R4, R9, H5)
 */
import type { AgentRegistration, NodeRow, Proof } from "../node.ts";

/** What holds for nodes that are not known: epochs they begin above, and those of refresh tokens that are void. */
export interface Floors {
  readonly epochFloor: number;
  readonly voidFloor: number;
}

/** Who had a node removed. */
export type RemovalCause = "operator" | "aged_out";

type Fence = Pick<NodeRow, "epoch" | "voidEpoch">;

/**
 * Whether who registers is the one that `previous` tells of: the same instance, or, where neither has told one, an agent at the
 * same address.
 */
export function isSameAgent(
  previous: NodeRow | undefined,
  registration: AgentRegistration,
): boolean {
  if (previous?.kind !== "agent" || previous.instanceId !== registration.instance_id) return false;
  return registration.instance_id !== null || previous.agentUrl === registration.agent_url;
}

/** The fence of a node after a register; `previous` is its row before, of the same agent or of another. */
export function fenceAfter(
  floors: Floors,
  previous: NodeRow | undefined,
  isSame: boolean,
  proof: Proof,
): Fence {
  if (previous !== undefined && isSame) return previous;
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
