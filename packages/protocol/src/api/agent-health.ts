/** What an agent's own `GET /health` answers (R2). Anybody may ask, so it holds nothing that helps to speak for the node. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { nodeIdSchema } from "../ids.ts";

const text = z.string().max(256);

/**
 * Who it is, and where it stands with the coordinator. `instance_sha256`, if given, tells those who know its instance id that
 * it is that one, and nobody else what it is: with an enrolment token the id itself passes for the same process.
 */
export const agentHealthSchema = z.object({
  node_id: nodeIdSchema,
  instance_sha256: z.string().length(64).optional(),
  version: text.optional(),
  status: text.optional(),
});
export type AgentHealth = z.infer<typeof agentHealthSchema>;

/** An instance id as `/health` shows it: SHA-256, 64 hexadecimal digits. */
export function instanceDigest(instanceId: string): string {
  return createHash("sha256").update(instanceId).digest("hex");
}
