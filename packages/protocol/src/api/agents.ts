/**
 * The routes that agents call: register, heartbeat, deregister and the event stream. Names as on the wire, times in integer
 * ms.
 */
import { z } from "zod";
import { instanceIdSchema, nodeIdSchema, sensorNameSchema } from "../ids.ts";
import { contract } from "./contract.ts";
import type { ErrorCode } from "./errors.ts";
import { count, hasAtMost, text } from "./fields.ts";

/** Agents send it with every request; a missing or different version is answered with 400. */
export const PROTOCOL_HEADER = "X-Fleet-Protocol-Version";

const KEYS_MAX = 64;
const SENSORS_MAX = 256;

/** Whether the coordinator forgets a silent node after days or after minutes. (R4) */
export const nodeClassSchema = z
  .enum(["persistent", "ephemeral"])
  .describe(
    "How long the coordinator remembers a silent node: `persistent` for days, `ephemeral` for minutes.",
  );
export type NodeClass = z.infer<typeof nodeClassSchema>;

/** A runtime that the agent offers to its sensors. */
export const runtimeSchema = z
  .object({
    name: text.describe("The runtime's name, such as `python`."),
    version: text.nullable().describe("The runtime's version; null if unknown."),
    path: z.string().max(4096).nullable().describe("The path of the interpreter in the image."),
  })
  .meta({ id: "Runtime" });
export type RuntimeInfo = z.infer<typeof runtimeSchema>;

/** A sensor as its node announces it. */
export const sensorInfoSchema = z
  .object({
    name: sensorNameSchema.describe("The sensor's name, unique on its node."),
    runtime: text.describe("The runtime that the sensor needs."),
    mode: z
      .enum(["stream", "poll"])
      .describe("`stream`: the sensor runs all the time. `poll`: it runs at intervals."),
    problem: z
      .string()
      .max(512)
      .optional()
      .describe("Why the sensor cannot run, and what to do about it. Absent if it can run."),
  })
  .meta({ id: "Sensor" });
export type SensorInfo = z.infer<typeof sensorInfoSchema>;

/** Scheme, host, port and path as RFC 3986 writes them, and nothing that parsers read in different ways. */
const PLAIN_URL =
  /^https?:\/\/(\[[\da-f:.]+\]|[\da-z](?:[\da-z._-]*[\da-z])?)(?::\d{1,5})?(?:\/[\w.~!$&'()*+,;=:%/-]*)?$/i;

/** Whether a URL means to every parser what it says. The host `0x7f.1`, for one, is 127.0.0.1 to some. */
function isPlainUrl(url: string): boolean {
  const host = PLAIN_URL.exec(url)?.[1]?.toLowerCase();
  const parsed = URL.parse(url);
  return (
    host !== undefined && parsed !== null && (host.startsWith("[") || parsed.hostname === host)
  );
}

/** Operators can see it, so it must hold no credentials. */
const agentUrl = z
  .string()
  .max(2048)
  .refine(
    isPlainUrl,
    "must be http(s)://host[:port][/path], without credentials, query or fragment",
  )
  .describe("The http or https URL at which the agent serves `/health`.");

const epoch = z
  .int()
  .min(1)
  .describe("Increases with each new instance of the node; requests with a lower one are refused.");

const instanceId = instanceIdSchema.describe("A random id of this run of the agent process.");

/** `POST agents/register`. (R6) */
export const registerRequestSchema = z
  .object({
    node_id: nodeIdSchema.describe("The agent's persistent node id."),
    instance_id: instanceId,
    name: text.optional().describe("A name for people."),
    group: text.optional().describe("The node's group. Tokens can be limited to groups."),
    class: nodeClassSchema.default("persistent"),
    labels: z
      .record(z.string().max(64), text)
      .refine(...hasAtMost(KEYS_MAX, "labels"))
      .default({})
      .describe("The node's labels: name → value."),
    version: text.describe("The agent's version."),
    agent_url: agentUrl.optional(),
    runtimes: z
      .array(runtimeSchema)
      .max(64)
      .default([])
      .describe("The runtimes that the agent offers to sensors."),
    sensors: z
      .array(sensorInfoSchema)
      .max(SENSORS_MAX)
      .default([])
      .describe("The sensors that the agent runs."),
    capabilities: z
      .array(text)
      .max(64)
      .default([])
      .describe("The features that the agent supports."),
    platform: z
      .record(z.string().max(64), text)
      .refine(...hasAtMost(KEYS_MAX, "facts"))
      .default({})
      .describe("The platform that the agent runs on: name → value."),
  })
  .meta({ id: "Register" });
export type RegisterRequest = z.input<typeof registerRequestSchema>;
export type Registration = z.output<typeof registerRequestSchema>;

/** Where an agent opens its frame sessions. */
export const frameEndpointSchema = z
  .object({
    host: z.string().min(1).describe("A host name or IP address."),
    port: z.int().min(1).max(65_535).describe("A TCP port."),
    tls: z.boolean().describe("Whether the port requires TLS."),
  })
  .meta({ id: "FrameEndpoint" });
export type FrameEndpoint = z.infer<typeof frameEndpointSchema>;

/** The response to a register: the agent's credentials and settings. Agents ignore unknown keys. */
export const registerResponseSchema = z
  .object({
    node_id: nodeIdSchema.describe("The node's id."),
    epoch,
    access_token: z
      .string()
      .describe("Authenticates this instance's requests and frame sessions. A secret."),
    access_expires_ms: z.int().describe("When the access token expires, in Unix ms."),
    refresh_token: z
      .string()
      .describe("Registers the same node again. Valid for seven days. A secret."),
    heartbeat_interval_ms: z.int().min(1).describe("The time between two heartbeats, in ms."),
    events_url: z.string().describe("The path of the agent's event stream."),
    frames: frameEndpointSchema.describe("The frame port, where the agent opens its sessions."),
    protocol: z.int().describe("The protocol version that the coordinator speaks."),
  })
  .meta({ id: "Registered" });
export type RegisterResponse = z.infer<typeof registerResponseSchema>;

/** `POST /api/nodes/register`: the minimal form, for agents that serve `/health` and implement nothing else. */
export const registerUrlRequestSchema = z
  .object({
    node_id: nodeIdSchema.describe("The agent's persistent node id."),
    agent_url: agentUrl,
  })
  .meta({ id: "RegisterUrl" });
export type UrlRegistration = z.output<typeof registerUrlRequestSchema>;

/** The response to the minimal form. */
export const registerUrlResponseSchema = z
  .object({
    node_id: nodeIdSchema.describe("The node's id."),
    epoch,
    heartbeat_interval_ms: z
      .int()
      .min(1)
      .describe("The time between two requests for the agent's `/health`, in ms."),
  })
  .meta({ id: "RegisteredUrl" });
export type RegisterUrlResponse = z.infer<typeof registerUrlResponseSchema>;

/** One sensor's frame balance; `produced = acked + spooled + Σ dropped` always holds. (A16) */
export const sensorCountersSchema = z
  .object({
    produced: count.describe("Frames the sensor has printed: `acked`, `spooled` and `dropped`."),
    acked: count.describe("Frames the coordinator has acknowledged."),
    spooled: count.describe("Frames in the agent's spool, not yet acknowledged."),
    dropped: z
      .record(z.string().max(64), count)
      .refine(...hasAtMost(KEYS_MAX, "reasons"))
      .describe("Frames that were lost: reason → count."),
  })
  .meta({ id: "SensorCounters" });
export type SensorCounters = z.infer<typeof sensorCountersSchema>;

const counters = z
  .record(sensorNameSchema, sensorCountersSchema)
  .refine(...hasAtMost(SENSORS_MAX, "sensors"))
  .describe("The frame balance of each sensor: sensor name → counters.");

/** `POST agents/{id}/heartbeat`. It carries counters and changes no metadata. (R7) */
export const heartbeatRequestSchema = z
  .object({ instance_id: instanceId, epoch, counters: counters.default({}) })
  .meta({ id: "Heartbeat" });
export type HeartbeatRequest = z.input<typeof heartbeatRequestSchema>;

/** The response to a heartbeat. */
export const heartbeatResponseSchema = z
  .object({
    server_time_ms: z.int().describe("The coordinator's time, in Unix ms."),
    commands_waiting: count.describe("The number of commands that wait for the agent."),
    reregister: z.boolean().describe("Whether the agent must register again."),
  })
  .meta({ id: "HeartbeatAnswer" });
export type HeartbeatResponse = z.infer<typeof heartbeatResponseSchema>;

/** `POST agents/{id}/deregister`: an orderly goodbye with the final counters. */
export const deregisterRequestSchema = z
  .object({ instance_id: instanceId, epoch, counters: counters.optional() })
  .meta({ id: "Deregister" });
export type DeregisterRequest = z.infer<typeof deregisterRequestSchema>;

const ofAgent = {
  access: "agent",
  tag: "agents",
  params: { id: nodeIdSchema.describe("The id of the agent's own node.") },
  badParam: "unknown_node",
} as const;
const OWN_NODE_ERRORS: readonly ErrorCode[] = ["forbidden", "blocked", "superseded"];
const REGISTER_ERRORS: readonly ErrorCode[] = [
  "forbidden",
  "blocked",
  "reenroll_refused",
  "contested",
  "busy",
  "too_many_nodes",
  "unavailable",
];

export const agentsApi = {
  register: contract({
    method: "POST",
    path: "/api/v1/agents/register",
    access: "registration",
    tag: "agents",
    summary: "Register an agent",
    description:
      "Stores the node durably before it responds, and issues the agent's own credentials. A known instance keeps its epoch; a new instance gets the next epoch and takes the node over.",
    body: registerRequestSchema,
    responses: {
      200: { description: "The agent's credentials and settings.", schema: registerResponseSchema },
    },
    errors: [...REGISTER_ERRORS, "superseded"],
  }),
  registerUrl: contract({
    method: "POST",
    path: "/api/nodes/register",
    access: "enrolment",
    tag: "agents",
    summary: "Register an address",
    description:
      "The minimal form, for agents that serve `/health` and implement nothing else of the protocol. The coordinator requests `/health` at each interval. The node counts as heard when it registers again, when `/health` answers, and when frames arrive with a push token. A new address is a new instance with the next epoch.",
    body: registerUrlRequestSchema,
    responses: {
      200: { description: "The node is registered.", schema: registerUrlResponseSchema },
    },
    errors: REGISTER_ERRORS,
  }),
  heartbeat: contract({
    ...ofAgent,
    method: "POST",
    path: "/api/v1/agents/:id/heartbeat",
    summary: "Send a heartbeat",
    description: "Reports the counters, and that the agent is alive. Changes no metadata.",
    body: heartbeatRequestSchema,
    responses: {
      200: { description: "The heartbeat is recorded.", schema: heartbeatResponseSchema },
    },
    errors: OWN_NODE_ERRORS,
  }),
  deregister: contract({
    ...ofAgent,
    method: "POST",
    path: "/api/v1/agents/:id/deregister",
    summary: "Deregister an agent",
    description: "An orderly goodbye: the node is SHUTDOWN until it registers again.",
    body: deregisterRequestSchema,
    responses: { 204: { description: "The goodbye is stored durably." } },
    errors: [...OWN_NODE_ERRORS, "unavailable"],
  }),
  events: contract({
    ...ofAgent,
    method: "GET",
    path: "/api/v1/agents/:id/events",
    summary: "Open the agent's event stream",
    description:
      "Server-sent events. A new stream ends the node's previous one. When the stream ends, the agent learns at once that the coordinator is gone or that it may no longer speak for the node.",
    responses: { 200: { description: "The event stream.", type: "text/event-stream" } },
    errors: OWN_NODE_ERRORS,
  }),
};
