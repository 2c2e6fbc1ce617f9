/**
 * The lines of an agent session other than frames. A session is one connection for one stream: the agent opens it with
 * `hello`, the coordinator answers with `welcome` or `reject`, then frames go one way and acks the other. (T1)
 */
import { z } from "zod";
import { instanceIdSchema, nodeIdSchema, sensorNameSchema, spoolIdSchema } from "../ids.ts";

/** The version of the protocol. */
export const PROTOCOL_VERSION = 1;
/** Bytes that an agent may send ahead of their acknowledgement. */
export const WINDOW_BYTES = 4 * 1024 * 1024;
/** The longest time between the acceptance of a frame and its ack, ms. */
export const ACK_INTERVAL_MS = 50;
/** An end that has sent nothing for this long, ms, repeats itself: the agent its `skip`, the coordinator its `ack`. */
export const KEEPALIVE_MS = 10_000;
/** An end that receives nothing for this long while it reads, ms, closes the session. */
export const SILENT_MS_MAX = 30_000;
/** The longest control line, `hello` included, in bytes. */
export const CONTROL_BYTES_MAX = 8192;

const seqSchema = z.int().min(0);

/** Agent → coordinator: the agent's identity, the stream, and the number of the first frame. */
export const helloSchema = z.object({
  type: z.literal("hello"),
  protocol: z.int(),
  node_id: nodeIdSchema,
  sensor: sensorNameSchema,
  token: z.string().min(1).max(4096),
  instance_id: instanceIdSchema,
  epoch: z.int().min(1),
  spool_id: spoolIdSchema,
  /** The oldest sequence number in the spool; for an empty spool the next one. */
  first_seq: z.int().min(1),
});
export type Hello = z.infer<typeof helloSchema>;

/** Agent → coordinator: the next line has the sequence number `to`. */
export const skipSchema = z.object({ type: z.literal("skip"), to: z.int().min(1) });
export type Skip = z.infer<typeof skipSchema>;

/** Why a hello is refused. `retryable` in the line tells whether the agent may succeed later. */
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

/** Coordinator → agent. Codes are plain strings here, so that a newer coordinator can add some. */
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
 * Why the coordinator ends an open session. `superseded`: a newer instance has taken over the node. `replaced`: a newer
 * connection of the same instance has taken over the stream.
 */
export type ByeCode = "draining" | "superseded" | "replaced" | "token_revoked" | "bad_session";

/** Encodes a control line, LF included. */
export function encodeLine(line: Hello | Skip | ServerLine): string {
  return `${JSON.stringify(line)}\n`;
}

/** Reads one line from the coordinator. Returns undefined for a line that this version does not know. */
export function parseServerLine(text: string): ServerLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return serverLineSchema.safeParse(value).data;
}
