/** The types the registry keeps and returns. */
import type { InstanceId, NodeClass, NodeId, Registration, SensorCounters } from "@fleet/protocol";
import type { blockedNodes, knownNodes } from "../db/schema.ts";
import type { LivenessWindows } from "./liveness/liveness.ts";

/** A node on disk. */
export type NodeRow = typeof knownNodes.$inferSelect;

/** A node id that nobody may use, and when it was blocked. */
export type BlockedRow = typeof blockedNodes.$inferSelect;

/** The counters of each sensor, as the agent last reported them. */
export type Counters = Record<string, SensorCounters>;

/** A node: its row, and what only this process knows. */
export interface Node {
  readonly id: NodeId;
  row: NodeRow;
  /** In ms of the coordinator's uptime; undefined when this process has not heard the node. */
  heardAtMs: number | undefined;
  counters: Counters;
  /** Whether the node was heard since its row was last written. */
  dirty: boolean;
  /** When its state may next change, unless the node is heard before, in ms of the coordinator's uptime. */
  dueMs: number;
}

/** How long nodes may be silent, and how many are remembered: whoever has an enrolment or push token can invent nodes. */
export interface RegistryOptions extends LivenessWindows {
  readonly agentNodesMax: number;
  readonly plainNodesMax: number;
  /** Nodes that the config names: there is always room for them. */
  readonly configured?: ReadonlySet<NodeId>;
  /** Silence, in ms of our uptime, after which a node is removed; Infinity: never. (R4) */
  readonly retentionMs: Readonly<Record<NodeClass, number>>;
}

/** A register. Without an instance and a version it is from an agent that reports only its address. */
export type AgentRegistration = Omit<Registration, "instance_id" | "version"> & {
  readonly instance_id: InstanceId | null;
  readonly version: string | null;
};

/** Whether an instance may speak for its node. */
export type Standing = "current" | "superseded" | "unknown" | "blocked";

/**
 * The result of a plain node's line. New nodes only: `unavailable` when the database refuses writes, `too_many` when there are
 * `plainNodesMax`.
 */
export type PlainOutcome = "heard" | "has_agent" | "blocked" | "unavailable" | "too_many";

/** What an agent showed to register: its node's own credentials, or only a token that admits any node. (H5) */
export type Proof = "refresh" | "enrolment";

/** The result of a register. */
export type RegisterOutcome =
  | { readonly at: "registered"; readonly epoch: number; readonly created: boolean }
  /** `busy`: too many agents register at once, or the node is changing; try again in a moment. */
  | { readonly at: "superseded" | "too_many_nodes" | "busy" | "blocked" }
  /** Two processes keep taking over the node from each other; it stays with the one on the host `by`. */
  | { readonly at: "contested"; readonly by: string | undefined };
