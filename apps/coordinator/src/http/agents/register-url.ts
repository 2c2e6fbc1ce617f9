/**
 * `POST /api/nodes/register`: the minimal form of a registration, for agents that serve `/health` and implement nothing else
 * of the protocol. It issues no credentials: the node is heard when it registers again, when `/health` answers
 * (registry/liveness), and when frames arrive with a push token. (R1, R5)
 */
import {
  agentsApi,
  type RegisterUrlResponse,
  routeOf,
  type UrlRegistration,
} from "@fleet/protocol";
import type { Context } from "hono";
import type { AgentRegistration } from "../../registry/node.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";
import type { AppEnv } from "../server.ts";
import { enrol, refuseEarly, type RegisterDeps, throttled } from "./enrol.ts";

/** The route. */
export function registerUrlRoute(deps: RegisterDeps): Route {
  return handle(
    agentsApi.registerUrl,
    (c, { body }) => throttled(deps, c, () => register(deps, c, body)),
    (c) => refuseEarly(deps, c),
  );
}

async function register(
  deps: RegisterDeps,
  c: Context<AppEnv>,
  request: UrlRegistration,
): Promise<RegisterUrlResponse | Response> {
  const { registry, auth, log, heartbeatIntervalMs } = deps;
  const { node_id } = request;
  const token = c.get("token");
  // The token may have ended while the body arrived.
  if (!auth.tokens.isValid(token)) return fail(c, "unauthorized");
  const previous = registry.get(node_id)?.row;
  const outcome = await enrol(deps, c, {
    registration: registrationOf(request, previous?.group ?? null),
    proof: { at: "enrolment", token },
    previous,
    action: routeOf(agentsApi.registerUrl),
    // These agents register again and again in place of heartbeats.
    auditRepeats: false,
  });
  if (outcome instanceof Response) return outcome;
  const { epoch, created } = outcome;
  log[created ? "info" : "debug"]({ node_id, epoch, by: token.name }, "node registered by address");
  return { node_id, epoch, heartbeat_interval_ms: heartbeatIntervalMs };
}

/** The request knows nothing but the address. The group stays as it was, since tokens can be limited to groups. */
function registrationOf(
  { node_id, agent_url }: UrlRegistration,
  group: string | null,
): AgentRegistration {
  return {
    node_id,
    agent_url,
    ...(group === null ? {} : { group }),
    instance_id: null,
    version: null,
    class: "persistent",
    labels: {},
    runtimes: [],
    sensors: [],
    capabilities: [],
    platform: {},
  };
}
