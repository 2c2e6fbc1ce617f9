/** `POST /api/v1/agents/register`: registers an agent and issues its own credentials. (R1, R6, R9, H5) */
import {
  agentsApi,
  PROTOCOL_VERSION,
  type RegisterResponse,
  type Registration,
  routeOf,
} from "@fleet/protocol";
import type { Context } from "hono";
import type { EnrolmentProof } from "../../registry/enrolment/policy.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";
import type { AppEnv } from "../server.ts";
import { enrol, refuseEarly, type RegisterDeps, throttled } from "./enrol.ts";
import { frameEndpoint } from "./frame-endpoint.ts";

/** The route. */
export function registerRoute(deps: RegisterDeps): Route {
  return handle(
    agentsApi.register,
    (c, { body }) => throttled(deps, c, () => register(deps, c, body)),
    (c) => refuseEarly(deps, c),
  );
}

async function register(
  deps: RegisterDeps,
  c: Context<AppEnv>,
  registration: Registration,
): Promise<RegisterResponse | Response> {
  const { registry, auth, log } = deps;
  const { node_id, instance_id } = registration;
  const proof = proofOf(deps, c, registration);
  if (proof === undefined) {
    // Only a token that was once the node's own learns why.
    const isOwn = c.get("refresh")?.nodeId === node_id;
    const reason = isOwn ? registry.barred(node_id, instance_id) : undefined;
    return fail(c, reason ?? "unauthorized");
  }
  const outcome = await enrol(deps, c, {
    registration,
    proof,
    previous: registry.get(node_id)?.row,
    action: routeOf(agentsApi.register),
    auditRepeats: true,
  });
  if (outcome instanceof Response) return outcome;
  const { epoch, created } = outcome;
  const claims = { nodeId: node_id, instanceId: instance_id, epoch };
  const groups = proof.at === "refresh" ? proof.groups : proof.token.groups;
  const credentials = await auth.credentials.issue(claims, groups);
  const by = proof.at === "refresh" ? "its own token" : proof.token.name;
  log.info({ ...claims, created, by }, "node registered");
  return {
    node_id,
    epoch,
    access_token: credentials.accessToken,
    access_expires_ms: credentials.accessExpiresMs,
    refresh_token: credentials.refreshToken,
    heartbeat_interval_ms: deps.heartbeatIntervalMs,
    events_url: agentsApi.events.path.replace(":id", node_id),
    frames: frameEndpoint(deps.frames, c),
    protocol: PROTOCOL_VERSION,
  };
}

/**
 * The node's own refresh token while the registry honours it, else the enrolment token, which may have ended while the body
 * arrived.
 */
function proofOf(
  { registry, auth }: RegisterDeps,
  c: Context<AppEnv>,
  { node_id: id }: Registration,
): EnrolmentProof | undefined {
  const [refresh, token] = [c.get("refresh"), c.get("token")];
  if (refresh?.nodeId === id && registry.honours(id, refresh.epoch))
    return { at: "refresh", groups: refresh.groups };
  return auth.tokens.isValid(token) ? { at: "enrolment", token } : undefined;
}
