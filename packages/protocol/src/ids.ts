/** The identifiers that cross a wire. Each is parsed once, at the boundary it comes in by, and branded from there on. */
import { z } from "zod";

/** No dot, since a dot joins ids in stream ids and topics; safe in paths, URLs and topics as it stands. (DESIGN §2) */
const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
const ID_RULE = "must be 1–64 letters, digits, '_' or '-', and begin with a letter or digit";

const id = z.string().regex(ID_PATTERN, ID_RULE);

/** A node: its persistent identity. */
export const nodeIdSchema = id.brand("NodeId");
export type NodeId = z.infer<typeof nodeIdSchema>;

/** A sensor of one node. */
export const sensorNameSchema = id.brand("SensorName");
export type SensorName = z.infer<typeof sensorNameSchema>;

/** One run of an agent process. */
export const instanceIdSchema = id.brand("InstanceId");
export type InstanceId = z.infer<typeof instanceIdSchema>;

/** One life of a spool's numbering: `(spool_id, seq)` names a frame for good. */
export const spoolIdSchema = id.brand("SpoolId");
export type SpoolId = z.infer<typeof spoolIdSchema>;

/** The ordered frames of one source: `node.sensor` for an agent's sensor, `node` for a plain node. */
export const streamIdSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9][A-Za-z0-9_-]{0,63})?$/,
    "must be a node id, or a node id and a sensor name joined by a dot",
  )
  .brand("StreamId");
export type StreamId = z.infer<typeof streamIdSchema>;

/** The stream of `sensor` on `node`, or of a plain node when there is no sensor. */
export function streamIdOf(node: NodeId, sensor?: SensorName): StreamId {
  return (sensor === undefined ? node : `${node}.${sensor}`) as StreamId;
}

/** The node a stream belongs to. */
export function nodeOfStream(stream: StreamId): NodeId {
  const dot = stream.indexOf(".");
  return (dot < 0 ? stream : stream.slice(0, dot)) as NodeId;
}

/** Makes an id out of a host name or other free text: foreign characters become `-`. Undefined when nothing is left. */
export function nodeIdFrom(text: string): NodeId | undefined {
  const candidate = text
    .replace(/[^A-Za-z0-9_-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 64);
  return nodeIdSchema.safeParse(candidate).data;
}
