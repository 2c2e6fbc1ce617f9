/**
 * The lines of an agent session other than frames. Each stream has one connection: the agent sends `hello`, the coordinator
 * answers `welcome` or `reject`, then frames flow one way and acks the other.
 */
import { z } from "zod";
import { instanceIdSchema, nodeIdSchema, sensorNameSchema, spoolIdSchema } from "../ids.ts";

/** The version both ends speak. */
export const PROTOCOL_VERSION = 1;
/** Bytes an agent may have sent and not yet seen acknowledged. */
export const WINDOW_BYTES = 4 * 1024 * 1024;
/** Longest time between a frame's acceptance and its ack, while frames are arriving. */
export const ACK_INTERVAL_MS = 50;
/** An end that had nothing to say for this long repeats itself: the agent its `skip`, the coordinator its `ack`. */
export const KEEPALIVE_MS = 10_000;
/** Who hears nothing of a session for this long, while reading, gives it up. */
export const SILENT_MS_MAX = 30_000;
/** Longest control line (hello included). */
export const CONTROL_BYTES_MAX = 8192;

const seqSchema = z.int().min(0);

/** Agent → coordinator: who this is and which frame comes first. */
export const helloSchema = z.object({
  type: z.literal("hello"),
  protocol: z.int(),
  node_id: nodeIdSchema,
  sensor: sensorNameSchema,
  token: z.string().min(1).max(4096),
  instance_id: instanceIdSchema,
  epoch: z.int().min(1),
  spool_id: spoolIdSchema,
  /** The oldest sequence number the spool still holds, or the next one it will use. */
  first_seq: z.int().min(1),
});
export type Hello = z.infer<typeof helloSchema>;

/** Agent → coordinator: the next line has number `to`. */
export const skipSchema = z.object({ type: z.literal("skip"), to: z.int().min(1) });
export type Skip = z.infer<typeof skipSchema>;

/** Why a hello was refused. `retryable` in the line itself says whether the same hello may succeed later. */
export const REJECT_CODES = [
  "bad_hello",
  "unsupported_protocol",
  "unauthorized",
  "superseded",
  "blocked",
  "unknown_node",
  "unknown_sensor",
  "ports_exhausted",
  "draining",
] as const;
export type RejectCode = (typeof REJECT_CODES)[number];

/** Coordinator → agent. A code this version does not know is read as text, so that a newer coordinator can add some. */
export const serverLineSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("welcome"), acked: seqSchema, window_bytes: z.int().min(1) }),
  z.object({
    type: z.literal("reject"),
    code: z.string(),
    message: z.string(),
    retryable: z.boolean(),
  }),
  z.object({ type: z.literal("ack"), seq: seqSchema }),
  z.object({ type: z.literal("rejected"), seq: seqSchema, code: z.string() }),
  z.object({ type: z.literal("bye"), code: z.string() }),
]);
export type ServerLine = z.infer<typeof serverLineSchema>;

/**
 * Why the coordinator ends a session that was open. `superseded`: a newer instance has the node; `replaced`: a newer
 * connection of the same instance has the stream.
 */
export type ByeCode = "draining" | "superseded" | "replaced" | "token_revoked" | "bad_session";

/** A control line as bytes, LF included. */
export function encodeLine(line: Hello | Skip | ServerLine): string {
  return `${JSON.stringify(line)}\n`;
}

/** Reads one line from the coordinator. Undefined when it is none that this version knows. */
export function parseServerLine(text: string): ServerLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return serverLineSchema.safeParse(value).data;
}
