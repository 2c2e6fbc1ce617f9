/**
 * Whether a node may enter, and its next row: the pure decisions that enrolment.ts commits. (R1, R9, R10)
 */
import type { InstanceId, NodeId } from "@fleet/protocol";
import type { Decision, RowsOf } from "../../db/commit.ts";
import { arrivalEvents } from "../node-event.ts";
import type { NodeKeys } from "../node-tables.ts";
import type {
  AgentRegistration,
  NodeRow,
  PlainOutcome,
  Proof,
  RegisterOutcome,
  RegistryOptions,
} from "../node.ts";
import { agentRow, plainRow } from "../rows.ts";
import { isFull, recount } from "./admission.ts";
import { fenceAfter, isSameAgent } from "./epochs.ts";

type Now = Pick<NodeRow, "lastSeen" | "heardUptime">;

/** A register, and what was known in memory when it arrived. */
export interface RegisterRequest {
  readonly registration: AgentRegistration;
  readonly proof: Proof;
  readonly now: Now;
  /** Whether a newer instance has replaced this one. */
  readonly isReplaced: boolean;
  /** Whether the node must stay with the instance that has it. */
  readonly isHeld: boolean;
}

/** The outcome of a register, and the instance that it has replaced. */
export interface Registered {
  readonly outcome: RegisterOutcome;
  readonly replaced?: InstanceId;
}

/**
 * The same instance keeps its epoch, a new one gets the next. Refused are a blocked id, an instance that a newer one has
 * replaced, any other instance while the node is held, and a new agent when there are `agentNodesMax`. A plain node becomes
 * an agent's.
 */
export function decideRegister(
  { admission, block, node: previous }: RowsOf<NodeKeys>,
  { registration, proof, now, isReplaced, isHeld }: RegisterRequest,
  options: RegistryOptions,
): Decision<NodeKeys, Registered> {
  const refused = (outcome: RegisterOutcome) => ({ outcome: { outcome } });
  if (block !== undefined) return refused({ at: "blocked" });
  if (isReplaced) return refused({ at: "superseded" });
  const isSame = isSameAgent(previous, registration);
  if (isHeld && !isSame) return refused({ at: "contested", by: previous?.platform["hostname"] });
  if (previous?.kind !== "agent" && isFull(admission!, "agent", registration.node_id, options))
    return refused({ at: "too_many_nodes" });
  const row = agentRow(
    registration,
    fenceAfter(admission!, previous, isSame, proof),
    previous,
    now,
  );
  const outcome = { at: "registered", epoch: row.epoch, created: previous === undefined } as const;
  const replaced = previous?.instanceId as InstanceId | null | undefined;
  const isReplacing = replaced != null && replaced !== row.instanceId;
  return {
    outcome: isReplacing ? { outcome, replaced } : { outcome },
    next: { admission: recount(admission!, previous, row), node: row },
    events: arrivalEvents(row, previous, proof),
  };
}

/** A plain node that was not known gets its row, in `group`, unless there are `plainNodesMax`. */
export function decidePlain(
  { admission, block, node: previous }: RowsOf<NodeKeys>,
  { id, group, now }: { readonly id: NodeId; readonly group: string | null; readonly now: Now },
  options: RegistryOptions,
): Decision<NodeKeys, PlainOutcome> {
  if (block !== undefined) return { outcome: "blocked" };
  if (previous !== undefined) return { outcome: hasCredentials(previous) ? "has_agent" : "heard" };
  if (isFull(admission!, "plain", id, options)) return { outcome: "too_many" };
  const row = plainRow(id, group, admission!.voidFloor, now);
  return {
    outcome: "heard",
    next: { admission: recount(admission!, undefined, row), node: row },
    events: arrivalEvents(row, undefined, undefined),
  };
}

/** Whether a node's agent has credentials of its own, so that no push token may speak for the node. */
export function hasCredentials({ kind, instanceId }: NodeRow): boolean {
  return kind === "agent" && instanceId !== null;
}
