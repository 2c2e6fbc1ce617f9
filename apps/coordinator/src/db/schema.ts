/** The tables (DESIGN §7). Each has one writer module, named here. Times are Unix ms. */
import type { RuntimeInfo, SensorInfo } from "@fleet/protocol";
import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

/** Every node ever met. Writer: registry/registry.ts. (R1) */
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
});

/** The last instances of a node that a newer one has replaced; they can't come back. Writer: registry/registry.ts. (R9) */
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

/** How far each agent stream has been acknowledged. Writer: uplinks/stream-progress.ts. (DESIGN §6) */
export const streams = sqliteTable("streams", {
  streamId: text("stream_id").primaryKey(),
  nodeId: text("node_id").notNull(),
  spoolId: text("spool_id").notNull(),
  ackedSeq: integer("acked_seq").notNull(),
});

/**
 * Each stream's tracker: its port lease, the process that ran last, and the push token that brought it in, where one did.
 * Writer: trackers/tracker-store.ts. (T2, T3, T5)
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
