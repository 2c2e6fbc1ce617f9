/** `GET /api/v1/agent/info`: the agents a coordinator offers for download. (H8) */
import { z } from "zod";

/** `sha256` is hex; `version` is null when the file does not tell it. */
export const agentInfoSchema = z.object({
  agents: z.array(
    z.object({
      arch: z.enum(["x86_64", "aarch64"]),
      version: z.string().nullable(),
      bytes: z.int().min(0),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
});
export type AgentInfo = z.infer<typeof agentInfoSchema>;
