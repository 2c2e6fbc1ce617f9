/** `/api/v1/agents`: what agents do to be known, and the list for operators. (R1, R6–R9, DESIGN §8) */
import type { Clock } from "@fleet/daemon";
import {
  deregisterRequestSchema,
  heartbeatRequestSchema,
  type HeartbeatResponse,
  type InstanceId,
  type NodeDetail,
  nodeIdSchema,
  type NodeId,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
} from "@fleet/protocol";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import type { AccessClaims, AgentClaims } from "../../auth/credentials.ts";
import type { Node } from "../../registry/node.ts";
import type { AgentStreams } from "../../agent-streams/agent-streams.ts";
import { bearerToken, parseBody } from "../middleware/body.ts";
import { fail } from "../middleware/errors.ts";
import { listNodes, nodeView } from "../operators/node-list.ts";
import { nodeDetailQuery, nodeListQuery, parseQuery, removeQuery } from "../middleware/queries.ts";
import { register, type RegisterDeps } from "./register.ts";
import type { AppEnv } from "../server.ts";

/** What the routes work with. */
export interface AgentRoutesDeps extends RegisterDeps {
  readonly clock: Clock;
  readonly streams: AgentStreams;
}

/** The routes below `/api/v1/agents`. */
export function agentRoutes(deps: AgentRoutesDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  const { registry } = deps;

  for (const path of ["/register", "/:id/heartbeat", "/:id/deregister", "/:id/events"])
    routes.use(path, requireProtocol);

  routes.post("/register", (c) => register(deps, c));

  routes.post("/:id/heartbeat", async (c) => {
    const claims = await claimsOf(deps, c);
    if (claims === undefined) return fail(c, "unauthorized");
    const body = await parseBody(c, heartbeatRequestSchema);
    if (!body.ok) return fail(c, "bad_request", body.detail);
    const node = ownNode(deps, c, claims, body.data.instance_id, body.data.epoch);
    if (node instanceof Response) return node;
    registry.heard(node.id, body.data.counters);
    const answer: HeartbeatResponse = {
      server_time_ms: deps.clock.nowMs(),
      commands_waiting: 0,
      // Only a register takes a goodbye back.
      reregister: node.row.shutdownAt !== null,
    };
    return c.json(answer);
  });

  routes.post("/:id/deregister", async (c) => {
    const claims = await claimsOf(deps, c);
    if (claims === undefined) return fail(c, "unauthorized");
    const body = await parseBody(c, deregisterRequestSchema);
    if (!body.ok) return fail(c, "bad_request", body.detail);
    const node = ownNode(deps, c, claims, body.data.instance_id, body.data.epoch);
    if (node instanceof Response) return node;
    registry.heard(node.id, body.data.counters);
    registry.deregister(node.id);
    return c.body(null, 204);
  });

  routes.get("/:id/events", async (c) => {
    const claims = await claimsOf(deps, c);
    if (claims === undefined) return fail(c, "unauthorized");
    const node = ownNode(deps, c, claims, claims.instanceId, claims.epoch);
    if (node instanceof Response) return node;
    registry.heard(node.id);
    // Nobody would read the stream that a HEAD opens.
    const body = c.req.method === "HEAD" ? null : deps.streams.open(claims, c.env);
    return new Response(body, {
      headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" },
    });
  });

  routes.get("/", async (c) => {
    const query = parseQuery(c, nodeListQuery);
    if (!query.ok) return fail(c, "bad_request", query.detail);
    const list = await listNodes(registry, query.data);
    return typeof list === "string" ? fail(c, "bad_request", list) : c.json(list);
  });

  routes.get("/:id", (c) => {
    const query = parseQuery(c, nodeDetailQuery);
    if (!query.ok) return fail(c, "bad_request", query.detail);
    const node = registry.get(c.req.param("id") as NodeId);
    if (node === undefined) return fail(c, "unknown_node");
    const history = [...registry.history(node.id, query.data.history)];
    return c.json({ ...nodeView(registry, node), history } satisfies NodeDetail);
  });

  routes.delete("/:id", (c) => {
    const id = nodeIdSchema.safeParse(c.req.param("id")).data;
    const query = parseQuery(c, removeQuery);
    if (!query.ok) return fail(c, "bad_request", query.detail);
    if (id === undefined) return fail(c, "unknown_node");
    if (query.data.block === "true")
      return registry.block(id) ? c.body(null, 204) : fail(c, "too_many_blocked");
    return registry.remove(id) ? c.body(null, 204) : fail(c, "unknown_node");
  });

  return routes;
}

async function claimsOf(deps: AgentRoutesDeps, c: Context): Promise<AccessClaims | undefined> {
  const token = bearerToken(c);
  return token === undefined ? undefined : deps.auth.credentials.verifyAccess(token);
}

/** The node of the path when the agent may speak for it, else the answer. Waits for nothing: what it finds still holds. (R9) */
function ownNode(
  { registry }: AgentRoutesDeps,
  c: Context,
  claims: AgentClaims,
  instanceId: InstanceId,
  epoch: number,
): Node | Response {
  const id = nodeIdSchema.safeParse(c.req.param("id")).data;
  if (id === undefined) return fail(c, "unknown_node");
  if (!speaksFor(claims, id, instanceId, epoch)) return fail(c, "forbidden");
  const standing = registry.standing(id, instanceId, epoch);
  if (standing === "superseded" || standing === "blocked") return fail(c, standing);
  const node = registry.get(id);
  return standing === "unknown" || node === undefined ? fail(c, "unknown_node") : node;
}

function speaksFor(
  claims: AgentClaims,
  id: NodeId,
  instanceId: InstanceId,
  epoch: number,
): boolean {
  return claims.nodeId === id && claims.instanceId === instanceId && claims.epoch === epoch;
}

const requireProtocol: MiddlewareHandler = async (c, next) => {
  const told = c.req.header(PROTOCOL_HEADER);
  if (told === String(PROTOCOL_VERSION)) return next();
  const found = told === undefined ? "is missing" : `says ${JSON.stringify(told.slice(0, 32))}`;
  const spoken = `this coordinator speaks version ${PROTOCOL_VERSION}`;
  return fail(c, "bad_protocol", `${PROTOCOL_HEADER} ${found}; ${spoken}`);
};
