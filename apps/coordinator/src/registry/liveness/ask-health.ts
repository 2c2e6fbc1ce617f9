/**
 * Requests an agent's `/health`. Anyone who can register chooses the address, so the request does as little as possible: one GET
 * without credentials, no redirects, at most BODY_BYTES_MAX read, and nothing of the response passed on. Called by the health
 * pool. (R2)
 */
import { type Clock, readBody } from "@fleet/daemon";
import { type AgentHealth, agentHealthSchema, instanceDigest } from "@fleet/protocol";
import type { NodeRow } from "../node.ts";

/** Limits a request from its start to the last byte of its response. */
const ANSWER_MS_MAX = 5000;
/** Limits the response body. */
const BODY_BYTES_MAX = 4096;

/** Returns what the agent at `url` reports about itself; undefined for any failure or invalid response. */
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
      // A compressed body could expand beyond the limit.
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

/** Whether a response is from the node of `row`, and from its instance if both name one. */
export function isOf(
  { node_id: id, instance_sha256: digest }: AgentHealth,
  { nodeId, instanceId }: NodeRow,
): boolean {
  if (id !== nodeId) return false;
  return digest === undefined || instanceId === null || digest === instanceDigest(instanceId);
}
