/** The identifiers used on the wire. Each is parsed once, where it enters the program, and is a branded type from there on. */
import { z } from "zod";

/** Safe in paths, URLs and topics without escaping. No dot, because a dot joins ids in stream ids and topics. */
const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
const ID_RULE = "must be 1–64 letters, digits, '_' or '-', and begin with a letter or digit";

const id = z.string().regex(ID_PATTERN, ID_RULE);

/** The persistent identity of a node. */
export const nodeIdSchema = id.brand("NodeId");
export type NodeId = z.infer<typeof nodeIdSchema>;

/** The name of a sensor, unique within its node. */
export const sensorNameSchema = id.brand("SensorName");
export type SensorName = z.infer<typeof sensorNameSchema>;

/** Identifies one run of an agent process. */
export const instanceIdSchema = id.brand("InstanceId");
export type InstanceId = z.infer<typeof instanceIdSchema>;

/** Identifies one numbering of a spool's frames: `(spool_id, seq)` never names two frames. */
export const spoolIdSchema = id.brand("SpoolId");
export type SpoolId = z.infer<typeof spoolIdSchema>;

/** Identifies the ordered frames of one source: `node.sensor` for an agent's sensor, `node` for a plain node. */
export const streamIdSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9][A-Za-z0-9_-]{0,63})?$/,
    "must be a node id, or a node id and a sensor name joined by a dot",
  )
  .brand("StreamId");
export type StreamId = z.infer<typeof streamIdSchema>;

/** The stream of `sensor` on `node`, or of the plain node `node` without a sensor. */
export function streamIdOf(node: NodeId, sensor?: SensorName): StreamId {
  return (sensor === undefined ? node : `${node}.${sensor}`) as StreamId;
}

/** The node a stream belongs to. */
export function nodeOfStream(stream: StreamId): NodeId {
  const dot = stream.indexOf(".");
  return (dot < 0 ? stream : stream.slice(0, dot)) as NodeId;
}

/** Turns a host name or other text into an id by replacing other characters with `-`. Undefined if nothing is left. */
export function nodeIdFrom(text: string): NodeId | undefined {
  const candidate = text
    .replace(/[^A-Za-z0-9_-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 64);
  return nodeIdSchema.safeParse(candidate).data;
}
