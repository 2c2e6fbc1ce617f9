/**
 * `POST /api/nodes/register {node_id, agent_url}`: the minimal form of a register, for agents that answer `/health` and speak no more
 * of the protocol. On disk before it is answered, as the full one. It gives no credentials: such a node is heard when it
 * registers again, when it answers `/health` (registry/rounds.ts), and by lines with a push token. (R1, R5, DESIGN §8)
 */
import { registerUrlRequestSchema, type RegisterUrlResponse } from "@fleet/protocol";
import { type Context, Hono } from "hono";
import type { z } from "zod";
import { isTokenFor, type Token } from "../../auth/tokens.ts";
import { isSameAgent } from "../../registry/enrolment/epochs.ts";
import type { AgentRegistration } from "../../registry/node.ts";
import { bearerToken } from "../middleware/body.ts";
import { fail } from "../middleware/errors.ts";
import { inTurn, refuse, type RegisterDeps } from "./register.ts";
import type { AppEnv } from "../server.ts";

/** The route below `/api/nodes`. Who is let in or refused with an enrolment token is audited. */
export function registerUrlRoutes(deps: RegisterDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  routes.post("/register", (c) => {
    const shown = bearerToken(c);
    if (deps.auth.tokens.find("enroll", shown) === undefined) return fail(c, "unauthorized");
    return inTurn(deps, c, registerUrlRequestSchema, (request) => letIn(deps, c, request, shown));
  });
  return routes;
}

async function letIn(
  deps: RegisterDeps,
  c: Context<AppEnv>,
  request: z.output<typeof registerUrlRequestSchema>,
  shown: string | undefined,
): Promise<Response> {
  // The body may have been long in coming.
  const token = deps.auth.tokens.find("enroll", shown);
  if (token === undefined) return fail(c, "unauthorized");
  const before = deps.registry.get(request.node_id)?.row;
  const registration = registrationAt(request, before?.group ?? null);
  const isKnown = isSameAgent(before, registration);
  const isTakeover = before?.kind === "agent" && !isKnown;
  const response = await admit(deps, c, registration, token, isTakeover);
  // Some come again and again, in place of heartbeats.
  if (isKnown && response.ok) return response;
  deps.auth.audit.recordSoon({
    actor: token.name,
    address: c.env.peer(),
    action: "POST /api/nodes/register",
    subject: registration.node_id,
    outcome: c.get("errorCode") ?? (isTakeover ? "reenrolled" : "ok"),
  });
  return response;
}

/** Who tells no more than where it is. In which group it is, which tokens may be limited to, stays as it was. */
function registrationAt(
  { node_id, agent_url }: z.output<typeof registerUrlRequestSchema>,
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

async function admit(
  { registry, log, heartbeatIntervalMs, reenroll }: RegisterDeps,
  c: Context<AppEnv>,
  registration: AgentRegistration,
  token: Token,
  isTakeover: boolean,
): Promise<Response> {
  const { node_id, group = null } = registration;
  if (!isTokenFor(token, node_id, group))
    return fail(c, "forbidden", "the enrolment token is not for this node or its group");
  if (isTakeover && !reenroll) return fail(c, "reenroll_refused");
  const outcome = await registry.registerSoon(registration, "enrolment");
  if (outcome.at !== "registered") return refuse(c, outcome);
  const { epoch, created } = outcome;
  log[created ? "info" : "debug"]({ node_id, epoch, by: token.name }, "node told its address");
  const answer: RegisterUrlResponse = {
    node_id,
    epoch,
    heartbeat_interval_ms: heartbeatIntervalMs,
  };
  return c.json(answer);
}
