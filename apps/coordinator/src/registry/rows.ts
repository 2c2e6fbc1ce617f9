/** Builds the rows of nodes that register, send their first line, or say goodbye. Pure. (R1, R6, R10) */
import type { NodeId } from "@fleet/protocol";
import type { AgentRegistration, Node, NodeRow } from "./node.ts";

/** When a node is heard: Unix ms, and ms of the coordinator's uptime. */
type Now = Pick<NodeRow, "lastSeen" | "heardUptime">;

/** The row of a node after an agent's register; `previous` is its row before, an agent's or a plain node's. */
export function agentRow(
  registration: AgentRegistration,
  { epoch, voidEpoch }: Pick<NodeRow, "epoch" | "voidEpoch">,
  previous: NodeRow | undefined,
  now: Now,
): NodeRow {
  return {
    ...now,
    nodeId: registration.node_id,
    kind: "agent",
    name: registration.name ?? null,
    group: registration.group ?? null,
    class: registration.class,
    labels: registration.labels,
    version: registration.version,
    agentUrl: registration.agent_url ?? null,
    platform: registration.platform,
    runtimes: registration.runtimes,
    sensors: registration.sensors,
    capabilities: registration.capabilities,
    instanceId: registration.instance_id,
    epoch,
    voidEpoch,
    publishedState: "LIVE",
    firstSeen: previous?.firstSeen ?? now.lastSeen,
    shutdownAt: null,
  };
}

/** The row of a new plain node. Refresh tokens up to `voidEpoch` are void: they were issued to an earlier agent of that name. */
export function plainRow(
  nodeId: NodeId,
  group: string | null,
  voidEpoch: number,
  now: Now,
): NodeRow {
  return {
    ...now,
    nodeId,
    kind: "plain",
    name: null,
    group,
    class: "persistent",
    labels: {},
    version: null,
    agentUrl: null,
    platform: {},
    runtimes: [],
    sensors: [],
    capabilities: [],
    instanceId: null,
    epoch: 0,
    voidEpoch,
    publishedState: "LIVE",
    firstSeen: now.lastSeen,
    shutdownAt: null,
  };
}

/** The row of a node that said goodbye. */
export function shutdownRow(row: NodeRow, now: Now): NodeRow {
  return { ...row, ...now, publishedState: "SHUTDOWN", shutdownAt: now.lastSeen };
}

/** A node that has not been heard yet. */
export function newNode(row: NodeRow): Node {
  const id = row.nodeId as NodeId;
  return { id, row, heardAtMs: undefined, counters: {}, dirty: false, dueMs: 0 };
}
