/** What befalls nodes, put into words: for the history and the bus alike. Pure; called by registry.ts. (R5) */
import type { NodeEvent, NodeId, NodeState } from "@fleet/protocol";
import type { NodeRow, Proof } from "./node.ts";

/** Something that befell a node, as it is told and written down. `at` is Unix ms. */
export type Happening = NodeEvent & { readonly nodeId: NodeId };

/** A node's state is another one now; nothing when it is not. */
export function stateNews(
  nodeId: NodeId,
  at: number,
  state: NodeState,
  previous: NodeState,
): Happening[] {
  if (state === previous) return [];
  return [{ nodeId, at, event: "state", data: { state, previous_state: previous } }];
}

/**
 * A node was written down as `row` in place of `previous`. For the instance that was there already only its state may be
 * news. A new instance of a known agent that has nothing to show but an enrolment token is `reenrolled`: the node's state
 * was lost, or it is somebody else. (R9, H5)
 */
export function arrivalNews(
  row: NodeRow,
  previous: NodeRow | undefined,
  proof: Proof | undefined,
): Happening[] {
  const { kind, version, instanceId: instance_id, epoch, lastSeen: at } = row;
  const nodeId = row.nodeId as NodeId;
  const news: Happening[] = [];
  if (kind === "plain") news.push({ nodeId, at, event: "registered", data: { kind } });
  else if (previous?.kind !== "agent" || previous.epoch !== epoch) {
    if (previous?.kind === "agent") {
      const replaced = { instance_id: previous.instanceId, epoch: previous.epoch };
      news.push({ nodeId, at, event: "superseded", data: replaced });
    }
    news.push({ nodeId, at, event: "registered", data: { kind, version, instance_id, epoch } });
    if (previous?.kind === "agent" && proof === "enrolment")
      news.push({ nodeId, at, event: "reenrolled", data: { instance_id, epoch } });
  }
  return [
    ...news,
    ...stateNews(nodeId, at, row.publishedState, previous?.publishedState ?? "UNKNOWN"),
  ];
}

/** How a happening is logged and published. */
export function inWords({ nodeId, event, data }: Happening): {
  readonly said: string;
  readonly topic: string;
  readonly data: { readonly node_id: NodeId } & NodeEvent["data"];
} {
  return {
    said: event === "state" ? "node changed state" : `node ${event}`,
    topic: `node.${nodeId}.${event}`,
    data: { node_id: nodeId, ...data },
  };
}
