/** The operators' routes for nodes and blocked ids. (R4, R5, R8) */
import { z } from "zod";
import { nodeIdSchema } from "../ids.ts";
import {
  nodeClassSchema,
  runtimeSchema,
  sensorCountersSchema,
  sensorInfoSchema,
} from "./agents.ts";
import { contract } from "./contract.ts";
import { count, cursorOf, limit, nextCursor, REPEATED_MAX, TEXT_MAX } from "./fields.ts";

/** A node's liveness; UNKNOWN until this coordinator process has heard the node. (R5) */
export const nodeStateSchema = z.enum(["UNKNOWN", "LIVE", "STALE", "DEAD", "SHUTDOWN"]);
export type NodeState = z.infer<typeof nodeStateSchema>;

/** A node as `GET agents` lists it. */
export const nodeViewSchema = z
  .object({
    node_id: nodeIdSchema.describe("The node's id."),
    kind: z
      .enum(["agent", "plain"])
      .describe("`agent`: an agent registers the node. `plain`: it only sends frames."),
    state: nodeStateSchema.describe(
      "Whether the node is alive. UNKNOWN until this coordinator process has heard the node.",
    ),
    name: z.string().nullable().describe("The node's name for people."),
    group: z.string().nullable().describe("The group that the node registered with."),
    class: nodeClassSchema,
    labels: z.record(z.string(), z.string()).describe("The node's labels: name → value."),
    version: z.string().nullable().describe("The agent's version; null if unknown."),
    agent_url: z
      .string()
      .nullable()
      .describe("The URL at which the agent serves `/health`; null if it announced none."),
    platform: z
      .record(z.string(), z.string())
      .describe("The platform that the node runs on: name → value."),
    runtimes: z.array(runtimeSchema).describe("The runtimes that the node offers to sensors."),
    sensors: z.array(sensorInfoSchema).describe("The sensors that the node runs."),
    capabilities: z.array(z.string()).describe("The features that the agent supports."),
    instance_id: z
      .string()
      .nullable()
      .describe("The id of the agent's current run; null for nodes that announced none."),
    epoch: count.describe("Increases with each new instance of the node."),
    first_seen: z.int().describe("When the node was first heard, in Unix ms."),
    last_seen: z.int().describe("When the node was last heard, in Unix ms."),
    counters: z
      .record(z.string(), sensorCountersSchema)
      .describe("The frame balance of each sensor, as last reported: sensor name → counters."),
  })
  .meta({ id: "Node" });
export type NodeView = z.infer<typeof nodeViewSchema>;

/**
 * An entry of a node's history. `data` holds, for `registered`: kind, version, instance_id and epoch; for `superseded`: the
 * replaced instance_id and epoch; for `state`: state and previous_state; for `removed`: cause (`aged_out` or `operator`).
 */
export const nodeEventSchema = z
  .object({
    at: z.int().describe("When it happened, in Unix ms."),
    event: z
      .enum([
        "registered",
        "reenrolled",
        "superseded",
        "contested",
        "state",
        "removed",
        "blocked",
        "unblocked",
      ])
      .describe("What happened to the node."),
    data: z
      .record(z.string(), z.union([z.string(), z.number(), z.null()]))
      .describe("Details, which depend on the event."),
  })
  .meta({ id: "NodeEvent" });
export type NodeEventView = z.infer<typeof nodeEventSchema>;

/** `GET agents/{id}`: the node and the latest entries of its history, newest first. (R5) */
export const nodeDetailSchema = nodeViewSchema
  .extend({
    history: z
      .array(nodeEventSchema)
      .describe("The latest entries of the node's history, newest first."),
  })
  .meta({ id: "NodeDetail" });
export type NodeDetail = z.infer<typeof nodeDetailSchema>;

/** `GET agents`. */
export const nodeListSchema = z
  .object({
    agents: z.array(nodeViewSchema).describe("Nodes with and without an agent, ordered by id."),
    next_cursor: nextCursor,
  })
  .meta({ id: "NodeList" });
export type NodeList = z.infer<typeof nodeListSchema>;

/** `GET blocked-nodes`: the ids that no node may use. (R4) */
export const blockedListSchema = z
  .object({
    blocked: z
      .array(
        z.object({
          node_id: nodeIdSchema.describe("The blocked id."),
          blocked_at: z.int().describe("When the id was blocked, in Unix ms."),
        }),
      )
      .describe("The blocked ids, in order."),
    next_cursor: nextCursor,
  })
  .meta({ id: "BlockedList" });
export type BlockedList = z.infer<typeof blockedListSchema>;

/** The entries that the history of one node holds at most. */
export const NODE_EVENTS_MAX = 100;
const HISTORY_DEFAULT = 20;

const nodeListQuery = z.object({
  status: z
    .array(nodeStateSchema)
    .max(REPEATED_MAX)
    .default([])
    .describe("Nodes in this state. Repeat it to match any of several states."),
  kind: z.enum(["agent", "plain"]).optional().describe("Nodes with or without an agent."),
  class: nodeClassSchema.optional().describe("Nodes of this class."),
  group: z.string().max(TEXT_MAX).optional().describe("Nodes in this group."),
  label: z
    .array(z.string().regex(/^[^=]+=.*$/, "must be NAME=VALUE"))
    .max(REPEATED_MAX)
    .default([])
    .describe("Nodes with this label, as NAME=VALUE. Repeat it to match all of several labels."),
  runtime: z
    .string()
    .max(TEXT_MAX)
    .regex(/^[^@]+(@.+)?$/, "must be NAME or NAME@RANGE")
    .optional()
    .describe(
      "Nodes that offer this runtime: a name (`python`), or a name and a version range (`python@>=3.9,<4`).",
    ),
  q: z
    .string()
    .min(1)
    .max(TEXT_MAX)
    .optional()
    .describe("Nodes with this text in their id or name, ignoring case."),
  limit,
  cursor: cursorOf(nodeIdSchema),
});
export type NodeListQuery = z.output<typeof nodeListQuery>;

const ofNode = {
  tag: "nodes",
  params: { id: nodeIdSchema.describe("The node's id.") },
} as const;

export const nodesApi = {
  list: contract({
    method: "GET",
    path: "/api/v1/agents",
    access: "viewer",
    tag: "nodes",
    summary: "List nodes",
    description: "Ordered by id. A node is listed when it matches every filter.",
    query: nodeListQuery,
    responses: { 200: { description: "A page of nodes.", schema: nodeListSchema } },
  }),
  get: contract({
    ...ofNode,
    method: "GET",
    path: "/api/v1/agents/:id",
    access: "viewer",
    summary: "Get a node",
    description: "The node and the latest entries of its history.",
    badParam: "unknown_node",
    query: z.object({
      history: z.coerce
        .number<number>()
        .int()
        .min(0)
        .max(NODE_EVENTS_MAX)
        .default(HISTORY_DEFAULT)
        .describe("The maximum number of history entries."),
    }),
    responses: { 200: { description: "The node.", schema: nodeDetailSchema } },
  }),
  remove: contract({
    ...ofNode,
    method: "DELETE",
    path: "/api/v1/agents/:id",
    access: "admin",
    summary: "Remove a node",
    description:
      "Takes effect at once, whatever the node's state. The node may register again with an enrolment token unless its id is blocked.",
    badParam: "unknown_node",
    query: z.object({
      block: z
        .enum(["true", "false"])
        .optional()
        .describe("`true` also blocks the id: no node may use it until it is unblocked."),
    }),
    responses: { 204: { description: "The node is removed, and blocked if requested." } },
    errors: ["too_many_blocked", "unavailable"],
  }),
  listBlocked: contract({
    method: "GET",
    path: "/api/v1/blocked-nodes",
    access: "viewer",
    tag: "nodes",
    summary: "List blocked ids",
    query: z.object({ limit, cursor: cursorOf(nodeIdSchema) }),
    responses: { 200: { description: "A page of blocked ids.", schema: blockedListSchema } },
  }),
  block: contract({
    ...ofNode,
    method: "PUT",
    path: "/api/v1/blocked-nodes/:id",
    access: "admin",
    summary: "Block an id",
    description:
      "No node may use the id, whether it is known or not. A node that uses it is removed and disconnected.",
    responses: { 204: { description: "The id is blocked." } },
    errors: ["too_many_blocked", "unavailable"],
  }),
  unblock: contract({
    ...ofNode,
    method: "DELETE",
    path: "/api/v1/blocked-nodes/:id",
    access: "admin",
    summary: "Unblock an id",
    badParam: "unknown_node",
    responses: { 204: { description: "The id may be used again." } },
    errors: ["unavailable"],
  }),
};
