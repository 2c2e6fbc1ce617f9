/**
 * Asks an agent for a sign of life. Its address was told by whoever could register, so as little as possible is done with it:
 * one GET of `/health`, without credentials, no redirect followed, a few bytes read, and nothing of them shown to anybody.
 * Called by probe.ts and rounds.ts. (R2)
 */
import { type Clock, readBody } from "@fleet/daemon";
import { type AgentHealth, agentHealthSchema, instanceDigest } from "@fleet/protocol";
import type { NodeRow } from "../node.ts";

/** A whole question takes at most this long. */
const ANSWER_MS_MAX = 5000;
/** The largest answer that is read. */
const BODY_BYTES_MAX = 4096;

/** What the agent at `url` says of itself; undefined when it says nothing that counts, whatever the reason. */
export async function askHealth(
  clock: Clock,
  url: string,
  stopped: AbortSignal,
): Promise<AgentHealth | undefined> {
  const late = new AbortController();
  const timer = clock.after(ANSWER_MS_MAX, () => late.abort());
  try {
    const response = await fetch(new URL("/health", url), {
      headers: { accept: "application/json", "accept-encoding": "identity" },
      redirect: "manual",
      // A body that is taken as it comes can't be larger than what was read of it.
      decompress: false,
      keepalive: false,
      signal: AbortSignal.any([stopped, late.signal]),
    });
    const body =
      response.status === 200
        ? (await readBody(response, BODY_BYTES_MAX))?.toString("utf8")
        : undefined;
    if (body === undefined) {
      await response.body?.cancel();
      return undefined;
    }
    return agentHealthSchema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined;
  } finally {
    timer.cancel();
  }
}

/** Whether it is the node of `row` that answered, and its instance, where both are told. */
export function isOf(
  { node_id: id, instance_sha256: digest }: AgentHealth,
  { nodeId, instanceId }: NodeRow,
): boolean {
  if (id !== nodeId) return false;
  return digest === undefined || instanceId === null || digest === instanceDigest(instanceId);
}
