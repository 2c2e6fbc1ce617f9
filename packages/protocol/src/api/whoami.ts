/** `GET /api/v1/auth/whoami`: what a token is, asked by `fleet-agent doctor`. Nothing changes by asking. (A9, H5) */
import { z } from "zod";
import { frameEndpointSchema } from "./agent-api.ts";
import { nodeIdSchema } from "../ids.ts";
import { roleSchema } from "./token-api.ts";

/** What a bearer token is for: enrolling, pushing frames without an agent, operating, or a node's own two. */
export const tokenKindSchema = z.enum(["enroll", "push", "operator", "access", "refresh"]);
export type TokenKind = z.infer<typeof tokenKindSchema>;

/** `node_id` is there with the tokens that belong to one node, `name` with shared ones, `role` with an operator's. `frames` is what a register would answer. */
export const whoamiResponseSchema = z.object({
  kind: tokenKindSchema,
  node_id: nodeIdSchema.optional(),
  name: z.string().optional(),
  role: roleSchema.optional(),
  protocol: z.int(),
  version: z.string().max(256),
  server_time_ms: z.int(),
  frames: frameEndpointSchema,
});
export type WhoamiResponse = z.infer<typeof whoamiResponseSchema>;
