/**
 * Which of a node's instances and credentials count. An epoch fences off all earlier instances; a void epoch fences off the
 * refresh tokens issued up to it. Both only rise. Pure. (R4, R9, H5)
 */
import type { AgentRegistration, NodeRow, Proof } from "../node.ts";

/** The epochs of nodes that are not known: new instances begin above `epochFloor`, refresh tokens up to `voidFloor` are void. */
export interface Floors {
  readonly epochFloor: number;
  readonly voidFloor: number;
}

/** Why a node was removed. */
export type RemovalCause = "operator" | "aged_out";

type Fence = Pick<NodeRow, "epoch" | "voidEpoch">;

/**
 * Whether a registration is from the agent of `previous`: the same instance, or the same address when neither names an
 * instance.
 */
export function isSameAgent(
  previous: NodeRow | undefined,
  registration: AgentRegistration,
): boolean {
  if (previous?.kind !== "agent" || previous.instanceId !== registration.instance_id) return false;
  return registration.instance_id !== null || previous.agentUrl === registration.agent_url;
}

/** A node's epochs after a register; `previous` is its row before, of the same agent (`isSame`) or of another. */
export function fenceAfter(
  floors: Floors,
  previous: NodeRow | undefined,
  isSame: boolean,
  proof: Proof,
): Fence {
  if (previous !== undefined && isSame) return previous;
  const before = Math.max(previous?.epoch ?? 0, floors.epochFloor);
  // An agent that could not show the node's own token has lost it, or somebody else has it.
  const voidEpoch = proof === "enrolment" ? before : (previous?.voidEpoch ?? floors.voidFloor);
  return { epoch: before + 1, voidEpoch };
}

/** The floors after a node was removed. The tokens of a node that aged out stay good: it may only have slept. */
export function floorsAfter(
  { epochFloor, voidFloor }: Floors,
  { epoch, voidEpoch }: NodeRow,
  cause: RemovalCause,
): Floors {
  return {
    epochFloor: Math.max(epochFloor, epoch),
    voidFloor: Math.max(voidFloor, cause === "operator" ? epoch : voidEpoch),
  };
}
