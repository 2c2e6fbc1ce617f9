/**
 * Asks an agent for its health. Anybody who can register chooses the URL, so the coordinator does as little as possible with
 * it: one GET of `/health` without credentials to an allowed address, no redirect, a bounded answer, and nothing of that answer
 * is shown to anybody. Used by health-pool.ts. (R2, H12)
 */
import { type Clock, readBody } from "@fleet/daemon";
import { type AgentHealth, agentHealthSchema, instanceDigest } from "@fleet/protocol";
import type { AddressPolicy } from "../../net/address-policy.ts";
import { sendOut } from "../../net/outgoing.ts";
import type { Resolver } from "../../net/resolver.ts";
import type { NodeRow } from "../node.ts";

/** The time limit of a whole question, with the lookup of the name. */
const ANSWER_MS_MAX = 5000;
/** Limits the response body. */
const BODY_BYTES_MAX = 4096;

/** The parts a question works with. */
export interface AskDeps {
  readonly clock: Clock;
  readonly resolver: Resolver;
  readonly addresses: AddressPolicy;
}

/** The health of the agent at `url`; undefined when there is no valid answer, for whatever reason. */
export async function askHealth(
  { clock, resolver, addresses }: AskDeps,
  url: string,
  stopped: AbortSignal,
): Promise<AgentHealth | undefined> {
  const late = new AbortController();
  const timer = clock.after(ANSWER_MS_MAX, () => late.abort());
  try {
    const target = new URL("/health", url);
    const isLocal = addresses.isLocalName(target.hostname);
    const sent = await sendOut(resolver, {
      url: target,
      purpose: "health",
      headers: { accept: "application/json" },
      isAllowed: (address) => addresses.allows(address, isLocal),
      signal: AbortSignal.any([stopped, late.signal]),
    });
    if (sent.at === "unreachable") return undefined;
    const { response } = sent;
    const body = response.status === 200 ? await readBody(response, BODY_BYTES_MAX) : undefined;
    if (body === undefined) {
      await response.body?.cancel();
      return undefined;
    }
    return agentHealthSchema.safeParse(JSON.parse(body.toString("utf8"))).data;
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
