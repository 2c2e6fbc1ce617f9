/** The events that report a change of a node, derived from its rows before and after. Pure. (R5) */
import type { NodeId, NodeState } from "@fleet/protocol";
import type { NodeEvent } from "../bus.ts";
import type { NodeRow, Proof } from "./node.ts";

/** The event of a change of state; none when the state is the same. */
export function stateEvents(
  nodeId: NodeId,
  atMs: number,
  state: NodeState,
  previous: NodeState,
): NodeEvent[] {
  if (state === previous) return [];
  return [{ kind: "node.state", nodeId, atMs, data: { state, previous_state: previous } }];
}

/**
 * The events of a node that is heard for the first time or registers. An instance that was registered already can only change
 * state. A new instance of a known agent that shows only an enrolment token is `reenrolled`: either its state was lost, or it
 * is another machine. (R9, H5)
 */
export function arrivalEvents(
  row: NodeRow,
  previous: NodeRow | undefined,
  proof: Proof | undefined,
): NodeEvent[] {
  const { kind, version, instanceId: instance_id, epoch } = row;
  const about = { nodeId: row.nodeId as NodeId, atMs: row.lastSeen };
  const events: NodeEvent[] = [];
  if (kind === "plain") events.push({ ...about, kind: "node.registered", data: { kind } });
  else if (previous?.kind !== "agent" || previous.epoch !== epoch) {
    if (previous?.kind === "agent") {
      const replaced = { instance_id: previous.instanceId, epoch: previous.epoch };
      events.push({ ...about, kind: "node.superseded", data: replaced });
    }
    const data = { kind, version, instance_id, epoch };
    events.push({ ...about, kind: "node.registered", data });
    if (previous?.kind === "agent" && proof === "enrolment")
      events.push({ ...about, kind: "node.reenrolled", data: { instance_id, epoch } });
  }
  const previousState = previous?.publishedState ?? "UNKNOWN";
  return [...events, ...stateEvents(about.nodeId, about.atMs, row.publishedState, previousState)];
}
