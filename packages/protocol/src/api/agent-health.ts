/**
 * The response of an agent's own `GET /health`. Anybody may request it, so it contains nothing that helps to impersonate the
 * node. (R2)
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { nodeIdSchema } from "../ids.ts";

const text = z.string().max(256);

/**
 * The agent's identity and registration state. `instance_sha256` lets those who know the instance id recognise it without
 * revealing it: whoever has the id and an enrolment token passes for the same process.
 */
export const agentHealthSchema = z.object({
  node_id: nodeIdSchema,
  instance_sha256: z.string().length(64).optional(),
  version: text.optional(),
  status: text.optional(),
});
export type AgentHealth = z.infer<typeof agentHealthSchema>;

/** The SHA-256 digest of an instance id, 64 hexadecimal digits. */
export function instanceDigest(instanceId: string): string {
  return createHash("sha256").update(instanceId).digest("hex");
}
