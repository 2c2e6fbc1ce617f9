/**
 * Decides whether an agent may register as a node: the one policy for both forms of a registration. Pure; called by
 * http/agents before the registry stores anything. (R1, H5)
 */
import { isTokenFor, type Token } from "../../auth/token.ts";
import type { AgentRegistration, NodeRow } from "../node.ts";
import { isSameAgent } from "./epochs.ts";

/**
 * What an agent presents: its node's refresh token, with the groups that its enrolment was limited to, or an enrolment token.
 */
export type EnrolmentProof =
  | { readonly at: "refresh"; readonly groups: readonly string[] }
  | { readonly at: "enrolment"; readonly token: Token };

/**
 * `ok`: no agent has registered the node before. `again`: the registered instance registers again; it may have missed the
 * response. `reenrolled`: a new instance takes the node over. The others refuse the registration.
 */
export type EnrolmentDecision = "ok" | "again" | "reenrolled" | "forbidden" | "reenroll_refused";

/** Decides. `previous` is the node's row; `mayReenroll`, whether an enrolment token alone may take over a known node. */
export function decideEnrolment(
  proof: EnrolmentProof,
  registration: AgentRegistration,
  previous: NodeRow | undefined,
  mayReenroll: boolean,
): EnrolmentDecision {
  if (!isInScope(proof, registration, previous)) return "forbidden";
  if (previous?.kind !== "agent") return "ok";
  if (isSameAgent(previous, registration)) return "again";
  return proof.at === "enrolment" && !mayReenroll ? "reenroll_refused" : "reenrolled";
}

function isInScope(
  proof: EnrolmentProof,
  { node_id: id, group: requested }: AgentRegistration,
  previous: NodeRow | undefined,
): boolean {
  const group = requested ?? null;
  // Credentials stay limited to the groups of their enrolment.
  if (proof.at === "refresh")
    return proof.groups.length === 0 || (group !== null && proof.groups.includes(group));
  // A known node must already be in a group of the token's. A plain node without a group may join one.
  const isFree = previous === undefined || (previous.kind === "plain" && previous.group === null);
  const groups = isFree ? [group] : [group, previous.group];
  return groups.every((one) => isTokenFor(proof.token, id, one));
}
