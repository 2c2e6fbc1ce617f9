/** The HTTP bodies of `/api/v1` that agents, operators and the coordinator exchange (DESIGN §8). Wire names, integer ms. */
import { z } from "zod";
import { instanceIdSchema, nodeIdSchema, sensorNameSchema, streamIdSchema } from "../ids.ts";

/** Sent by agents with every request; a mismatch is answered 400. */
export const PROTOCOL_HEADER = "X-Fleet-Protocol-Version";

const TEXT_MAX = 256;
const text = z.string().max(TEXT_MAX);
const KEYS_MAX = 64;
const SENSORS_MAX = 256;

/** Whether an object has at most `max` keys; everything that a node tells of itself is kept in memory. */
function hasAtMost(max: number, what: string): [(value: object) => boolean, string] {
  return [(value) => Object.keys(value).length <= max, `at most ${max} ${what}`];
}

const labels = z.record(z.string().max(64), text).refine(...hasAtMost(KEYS_MAX, "labels"));

/** Whether a node that is gone for long is forgotten after days or after minutes (R4). */
export const nodeClassSchema = z.enum(["persistent", "ephemeral"]);
export type NodeClass = z.infer<typeof nodeClassSchema>;

/** A runtime the agent offers to its sensors. */
export const runtimeSchema = z.object({
  name: text,
  version: text.nullable(),
  path: z.string().max(4096).nullable(),
});
export type RuntimeInfo = z.infer<typeof runtimeSchema>;

/** A sensor as its node announces it. */
export const sensorInfoSchema = z.object({
  name: sensorNameSchema,
  runtime: text,
  mode: z.enum(["stream", "poll"]),
  /** Why it can't run there, and what would help; absent when it can. */
  problem: z.string().max(512).optional(),
});
export type SensorInfo = z.infer<typeof sensorInfoSchema>;

function isBare(url: string): boolean {
  const parsed = URL.parse(url);
  return (
    parsed === null ||
    [parsed.username, parsed.password, parsed.search, parsed.hash].join("") === ""
  );
}

/** Where an agent answers `/health`. Operators see it. */
const agentUrl = z
  .url({ protocol: /^https?$/ })
  .max(2048)
  .refine(isBare, "must not hold credentials, a query or a fragment");

/** `POST agents/register`. (R6) */
export const registerRequestSchema = z.object({
  node_id: nodeIdSchema,
  instance_id: instanceIdSchema,
  name: text.optional(),
  group: text.optional(),
  class: nodeClassSchema.default("persistent"),
  labels: labels.default({}),
  version: text,
  /** Where the coordinator may ask for `/health`. (R2) */
  agent_url: agentUrl.optional(),
  runtimes: z.array(runtimeSchema).max(64).default([]),
  sensors: z.array(sensorInfoSchema).max(SENSORS_MAX).default([]),
  capabilities: z.array(text).max(64).default([]),
  platform: z
    .record(z.string().max(64), text)
    .refine(...hasAtMost(KEYS_MAX, "facts"))
    .default({}),
});
export type RegisterRequest = z.input<typeof registerRequestSchema>;
export type Registration = z.output<typeof registerRequestSchema>;

/** Where the agent's sessions connect. */
export const frameEndpointSchema = z.object({
  host: z.string().min(1),
  port: z.int().min(1).max(65_535),
  tls: z.boolean(),
});
export type FrameEndpoint = z.infer<typeof frameEndpointSchema>;

/** The answer to a register: the agent's credentials and what the server wants of it. Keys it does not know are left out. */
export const registerResponseSchema = z.object({
  node_id: nodeIdSchema,
  epoch: z.int().min(1),
  access_token: z.string(),
  access_expires_ms: z.int(),
  refresh_token: z.string(),
  heartbeat_interval_ms: z.int().min(1),
  /** The path of the agent's event stream at the coordinator it asked. */
  events_url: z.string(),
  frames: frameEndpointSchema,
  protocol: z.int(),
});
export type RegisterResponse = z.infer<typeof registerResponseSchema>;

/** `POST /api/nodes/register`: the minimal form, for nodes that answer `/health` at `agent_url` and can do nothing else. */
export const registerUrlRequestSchema = z.object({ node_id: nodeIdSchema, agent_url: agentUrl });

/** The answer to it; `/health` is asked for each `heartbeat_interval_ms`. */
export const registerUrlResponseSchema = z.object({
  node_id: nodeIdSchema,
  epoch: z.int().min(1),
  heartbeat_interval_ms: z.int().min(1),
});
export type RegisterUrlResponse = z.infer<typeof registerUrlResponseSchema>;

const count = z.int().min(0);

/** One sensor's frame balance: `produced = acked + spooled + Σ dropped`, always. (A16) */
export const sensorCountersSchema = z.object({
  produced: count,
  acked: count,
  spooled: count,
  dropped: z.record(z.string().max(64), count).refine(...hasAtMost(KEYS_MAX, "reasons")),
});
export type SensorCounters = z.infer<typeof sensorCountersSchema>;

const countersSchema = z
  .record(sensorNameSchema, sensorCountersSchema)
  .refine(...hasAtMost(SENSORS_MAX, "sensors"));

/** `POST agents/{id}/heartbeat`. A ping with counters; it changes no metadata. (R7) */
export const heartbeatRequestSchema = z.object({
  instance_id: instanceIdSchema,
  epoch: z.int().min(1),
  counters: countersSchema.default({}),
});
export type HeartbeatRequest = z.input<typeof heartbeatRequestSchema>;

/** The answer to a heartbeat. */
export const heartbeatResponseSchema = z.object({
  server_time_ms: z.int(),
  commands_waiting: count,
  reregister: z.boolean(),
});
export type HeartbeatResponse = z.infer<typeof heartbeatResponseSchema>;

/** `POST agents/{id}/deregister`: an orderly goodbye, with the last word on the frames. */
export const deregisterRequestSchema = z.object({
  instance_id: instanceIdSchema,
  epoch: z.int().min(1),
  counters: countersSchema.optional(),
});
export type DeregisterRequest = z.infer<typeof deregisterRequestSchema>;

/** Every error of the API. */
export const errorBodySchema = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
});
export type ErrorBody = z.infer<typeof errorBodySchema>;

/** Where a node stands; UNKNOWN until this coordinator process has heard it. (R5) */
export const nodeStateSchema = z.enum(["UNKNOWN", "LIVE", "STALE", "DEAD", "SHUTDOWN"]);
export type NodeState = z.infer<typeof nodeStateSchema>;

/** A node as `GET agents` lists it. */
export const nodeViewSchema = z.object({
  node_id: nodeIdSchema,
  kind: z.enum(["agent", "plain"]),
  state: nodeStateSchema,
  name: z.string().nullable(),
  group: z.string().nullable(),
  class: nodeClassSchema,
  labels: z.record(z.string(), z.string()),
  version: z.string().nullable(),
  agent_url: z.string().nullable(),
  platform: z.record(z.string(), z.string()),
  runtimes: z.array(runtimeSchema),
  sensors: z.array(sensorInfoSchema),
  capabilities: z.array(z.string()),
  instance_id: z.string().nullable(),
  epoch: count,
  first_seen: z.int(),
  last_seen: z.int(),
  counters: z.record(z.string(), sensorCountersSchema),
});
export type NodeView = z.infer<typeof nodeViewSchema>;

/**
 * Something that befell a node. `data`: of `registered` kind, version, instance_id and epoch; of `superseded` the
 * instance_id and epoch that were replaced; of `state` state and previous_state; of `removed` cause (`aged_out` or
 * `operator`).
 */
export const nodeEventSchema = z.object({
  at: z.int(),
  event: z.enum([
    "registered",
    "reenrolled",
    "superseded",
    "contested",
    "state",
    "removed",
    "blocked",
    "unblocked",
  ]),
  data: z.record(z.string(), z.union([z.string(), z.number(), z.null()])),
});
export type NodeEvent = z.infer<typeof nodeEventSchema>;

/** `GET agents/{id}`: the node and the last of what befell it, newest first. (R5) */
export const nodeDetailSchema = nodeViewSchema.extend({ history: z.array(nodeEventSchema) });
export type NodeDetail = z.infer<typeof nodeDetailSchema>;

/** `GET blocked-nodes`: ids that nobody may use, and since when, Unix ms. (R4) */
export const blockedListSchema = z.object({
  blocked: z.array(z.object({ node_id: nodeIdSchema, blocked_at: z.int() })),
  next_cursor: z.string().optional(),
});
export type BlockedList = z.infer<typeof blockedListSchema>;

/** `GET agents`. */
export const nodeListSchema = z.object({
  agents: z.array(nodeViewSchema),
  next_cursor: z.string().optional(),
});
export type NodeList = z.infer<typeof nodeListSchema>;

/**
 * A tracker as `GET trackers` lists it. `state` is the supervisor's, upper case, or OUTAGE; `name` is what
 * the config calls it; `url`, without credentials, is where a `http` stream's frames are fetched.
 */
export const trackerViewSchema = z.object({
  stream_id: streamIdSchema,
  node_id: nodeIdSchema,
  state: z.enum(["STOPPED", "STARTING", "RUNNING", "OUTAGE", "BACKOFF", "STOPPING"]),
  source: z.enum(["config", "auto"]),
  name: z.string().nullable(),
  mode: z.enum(["tcp", "http"]),
  url: z.string().nullable(),
  port: z.int().nullable(),
  run: count,
  pid: z.int().nullable(),
  frames: count,
  frames_waiting: count,
  frames_dropped: z.record(z.string(), count),
  frames_redelivered: count,
  frames_per_s: z.number(),
  events: count,
  tracks: count,
  tracks_live: count,
  last_frame_at: z.int().nullable(),
});
export type TrackerView = z.infer<typeof trackerViewSchema>;

/** `GET trackers`. */
export const trackerListSchema = z.object({
  trackers: z.array(trackerViewSchema),
  next_cursor: z.string().optional(),
});
export type TrackerList = z.infer<typeof trackerListSchema>;

/** `GET trackers/{stream}/tracks`: the latest event of each track in memory, newest first. */
export const trackListSchema = z.object({
  stream_id: streamIdSchema,
  tracks: z.array(z.looseObject({ track_id: z.string(), run: count })),
});
export type TrackList = z.infer<typeof trackListSchema>;
