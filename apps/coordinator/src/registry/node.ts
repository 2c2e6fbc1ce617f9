/** What the registry keeps and answers, as types. */
import type { InstanceId, NodeClass, NodeId, Registration, SensorCounters } from "@fleet/protocol";
import type { knownNodes } from "../db/schema.ts";
import type { LivenessWindows } from "./liveness/liveness.ts";

/** A node's durable facts. */
export type NodeRow = typeof knownNodes.$inferSelect;

/** By sensor, as the agent last said them. */
export type Counters = Record<string, SensorCounters>;

/** A node: its row, and what only this process knows. */
export interface Node {
  readonly id: NodeId;
  row: NodeRow;
  /** In ms of the coordinator's uptime; undefined when this process has not heard it. */
  heardAtMs: number | undefined;
  counters: Counters;
  /** What was heard of it is not on disk yet. */
  dirty: boolean;
  /** When its state may be another one, unless it is heard, in ms of the coordinator's uptime. */
  dueMs: number;
}

/** How long nodes may be silent, and how many are remembered: whoever has an enrolment or push token can invent them. */
export interface RegistryOptions extends LivenessWindows {
  readonly agentNodesMax: number;
  readonly plainNodesMax: number;
  /** Nodes that the config names: there is always room for them. */
  readonly configured?: ReadonlySet<NodeId>;
  /** Silence, in ms of our uptime, after which a node is forgotten; Infinity: never. (R4) */
  readonly retentionMs: Readonly<Record<NodeClass, number>>;
}

/** Who comes to be known. Without an instance and a version it is an agent that told its address and nothing else. */
export type AgentRegistration = Omit<Registration, "instance_id" | "version"> & {
  readonly instance_id: InstanceId | null;
  readonly version: string | null;
};

/** Whether an instance may speak for its node. */
export type Standing = "current" | "superseded" | "unknown" | "blocked";

/**
 * What became of a plain node's line. The last two are for new nodes: the database takes no writes; there are
 * `plainNodesMax`.
 */
export type PlainOutcome = "heard" | "has_agent" | "blocked" | "unavailable" | "too_many";

/** What an agent showed to register: its node's own credentials, or only what lets any node in. (H5) */
export type Proof = "refresh" | "enrolment";

/** What became of a register. */
export type RegisterOutcome =
  | { readonly at: "registered"; readonly epoch: number; readonly created: boolean }
  /** `busy`: too many register at once; it may come back in a moment. */
  | { readonly at: "superseded" | "too_many_nodes" | "busy" }
  /** Two processes keep taking the node from each other; it stays with the one on the host `by`. */
  | { readonly at: "contested"; readonly by: string | undefined }
  | { readonly at: "blocked" };
