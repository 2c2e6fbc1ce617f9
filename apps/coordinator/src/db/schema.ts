/** The tables. Each names the one module that writes it. Times are Unix ms. */
import type { NodeEventView, RuntimeInfo, SensorInfo } from "@fleet/protocol";
import {
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";

/**
 * Every known node. `heard_uptime` is the coordinator's uptime when the node was last heard, summed over all its runs, in ms.
 * Writer: registry/node-store.ts, also for `superseded`, `blocked_nodes` and `registry_state`. (R1, R4)
 */
export const knownNodes = sqliteTable("known_nodes", {
  nodeId: text("node_id").primaryKey(),
  kind: text("kind", { enum: ["agent", "plain"] }).notNull(),
  name: text("name"),
  group: text("group"),
  class: text("class", { enum: ["persistent", "ephemeral"] }).notNull(),
  labels: text("labels", { mode: "json" }).$type<Record<string, string>>().notNull(),
  version: text("version"),
  agentUrl: text("agent_url"),
  platform: text("platform", { mode: "json" }).$type<Record<string, string>>().notNull(),
  runtimes: text("runtimes", { mode: "json" }).$type<RuntimeInfo[]>().notNull(),
  sensors: text("sensors", { mode: "json" }).$type<SensorInfo[]>().notNull(),
  capabilities: text("capabilities", { mode: "json" }).$type<string[]>().notNull(),
  instanceId: text("instance_id"),
  epoch: integer("epoch").notNull(),
  publishedState: text("published_state", {
    enum: ["UNKNOWN", "LIVE", "STALE", "DEAD", "SHUTDOWN"],
  }).notNull(),
  firstSeen: integer("first_seen").notNull(),
  lastSeen: integer("last_seen").notNull(),
  shutdownAt: integer("shutdown_at"),
  heardUptime: integer("heard_uptime").notNull().default(0),
  /** Refresh tokens issued up to this epoch are void. (H5) */
  voidEpoch: integer("void_epoch").notNull().default(0),
});

/** The latest superseded instances of each node; they can't return. (R9) */
export const superseded = sqliteTable(
  "superseded",
  {
    nodeId: text("node_id").notNull(),
    instanceId: text("instance_id").notNull(),
    epoch: integer("epoch").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.nodeId, t.instanceId] }),
    index("superseded_by_epoch").on(t.nodeId, t.epoch),
  ],
);

/** The history of each node, also of removed ones; ordered by `id`. Bounded per node and in total. Writer: db/node-history.ts. (R4, R5) */
export const nodeEvents = sqliteTable(
  "node_events",
  {
    id: integer("id").primaryKey(),
    nodeId: text("node_id").notNull(),
    at: integer("at").notNull(),
    event: text("event").$type<NodeEventView["event"]>().notNull(),
    data: text("data", { mode: "json" }).$type<NodeEventView["data"]>().notNull(),
  },
  (t) => [index("node_events_by_node").on(t.nodeId, t.id)],
);

/** Blocked node ids. (R4) */
export const blockedNodes = sqliteTable("blocked_nodes", {
  nodeId: text("node_id").primaryKey(),
  blockedAt: integer("blocked_at").notNull(),
});

/**
 * One row: the coordinator's uptime over all its runs in ms, and the highest epoch of any removed node, above which new and
 * returning nodes begin. `void_floor` is the void epoch of all unknown nodes. (R4, R9, H5)
 */
export const registryState = sqliteTable("registry_state", {
  id: integer("id").primaryKey(),
  uptimeMs: integer("uptime_ms").notNull(),
  epochFloor: integer("epoch_floor").notNull(),
  voidFloor: integer("void_floor").notNull().default(0),
});

/** How far each agent's stream has been acknowledged. Writer: uplinks/sessions/stream-progress.ts. */
export const streams = sqliteTable("streams", {
  streamId: text("stream_id").primaryKey(),
  nodeId: text("node_id").notNull(),
  spoolId: text("spool_id").notNull(),
  ackedSeq: integer("acked_seq").notNull(),
});

/**
 * Each stream's tracker: its leased port, its last process, and the push token that created it, if one did. Writer:
 * trackers/tracker-store.ts. (T2, T3, T5)
 */
export const trackers = sqliteTable("trackers", {
  streamId: text("stream_id").primaryKey(),
  source: text("source", { enum: ["config", "auto"] }).notNull(),
  port: integer("port"),
  run: integer("run").notNull(),
  pid: integer("pid"),
  pidStart: integer("pid_start"),
  bootId: text("boot_id"),
  createdAt: integer("created_at").notNull(),
  lastFrameAt: integer("last_frame_at"),
  token: text("token"),
});

/** Created tokens; `hash` is the SHA-256 of the secret. Writer: auth/tokens.ts. (H5) */
export const tokens = sqliteTable(
  "tokens",
  {
    id: text("id").primaryKey(),
    name: text("name").notNull(),
    kind: text("kind", { enum: ["enroll", "push", "operator"] }).notNull(),
    hash: text("hash").notNull(),
    role: text("role", { enum: ["viewer", "operator", "admin"] }),
    nodes: text("nodes", { mode: "json" }).$type<string[]>().notNull(),
    groups: text("groups", { mode: "json" }).$type<string[]>().notNull(),
    createdAt: integer("created_at").notNull(),
    createdBy: text("created_by").notNull(),
    expiresAt: integer("expires_at"),
    revokedAt: integer("revoked_at"),
    lastUsedAt: integer("last_used_at"),
  },
  (t) => [uniqueIndex("tokens_by_name").on(t.name), uniqueIndex("tokens_by_hash").on(t.hash)],
);

/** The audit log, ordered by `id`. Writer: auth/audit.ts. (H5) */
export const audit = sqliteTable("audit", {
  id: integer("id").primaryKey(),
  at: integer("at").notNull(),
  actor: text("actor").notNull(),
  address: text("address"),
  action: text("action").notNull(),
  subject: text("subject"),
  outcome: text("outcome").notNull(),
});
