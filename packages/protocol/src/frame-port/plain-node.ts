/** The lines of a plain node: frames and heartbeats, each with `node_id` and `token`. No line is answered. (T1, R10) */
import { z } from "zod";
import { encodeFrame, type EncodedFrame, type FrameProblem, parseObject } from "../frames/frame.ts";
import { type NodeId, nodeIdSchema } from "../ids.ts";

const TOKEN_LENGTH_MAX = 4096;
const credentialsSchema = z.object({
  node_id: nodeIdSchema,
  token: z.string().min(1).max(TOKEN_LENGTH_MAX),
});

/** A line, with its sender and push token. */
export type PlainLine =
  | { readonly at: "heartbeat"; readonly nodeId: NodeId; readonly token: string }
  | {
      readonly at: "frame";
      readonly nodeId: NodeId;
      readonly token: string;
      readonly frame: EncodedFrame;
    }
  | {
      readonly at: "bad";
      readonly problem: FrameProblem | "bad_credentials" | "unknown_type";
      /** The sender, if the line names one. */
      readonly from: { readonly nodeId: NodeId; readonly token: string } | undefined;
    };

/** Reads the line `bytes[start..end)` of a plain node. The frame is encoded without the credentials. */
export function parsePlainLine(bytes: Uint8Array, start: number, end: number): PlainLine {
  const parsed = parseObject(bytes, start, end);
  if (typeof parsed === "string") return bad(parsed);
  const credentials = credentialsSchema.safeParse(parsed.value);
  if (!credentials.success) return bad("bad_credentials");
  const { node_id: nodeId, token } = credentials.data;
  const { type } = parsed.value;
  if (type === "heartbeat") return { at: "heartbeat", nodeId, token };
  if (type !== undefined) return bad("unknown_type", { nodeId, token });
  const frame = encodeFrame(parsed, ["node_id", "token"]);
  if (typeof frame === "string") return bad(frame, { nodeId, token });
  return { at: "frame", nodeId, token, frame };
}

function bad(
  problem: FrameProblem | "bad_credentials" | "unknown_type",
  from?: { nodeId: NodeId; token: string },
): PlainLine {
  return { at: "bad", problem, from };
}
