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
  type NodeList,
  nodeStateSchema,
  type NodeView,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
} from "@fleet/protocol";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { z } from "zod";
import type { AccessClaims, AgentClaims } from "../auth/credentials.ts";
import type { Node } from "../registry/node.ts";
import { NODE_EVENTS_MAX } from "../registry/node-store.ts";
import type { Registry } from "../registry/registry.ts";
import type { AgentStreams } from "./agent-streams.ts";
import { bearerToken, check, parseBody } from "./body.ts";
import { fail } from "./errors.ts";
import { register, type RegisterDeps } from "./register.ts";
import type { AppEnv } from "./server.ts";

const LIST_MAX = 1000;
const HISTORY_DEFAULT = 20;

/** What the routes work with. */
export interface AgentRoutesDeps extends RegisterDeps {
  readonly clock: Clock;
  readonly streams: AgentStreams;
}

const listQuerySchema = z.object({
  status: nodeStateSchema.optional(),
  group: z.string().optional(),
  runtime: z.string().optional(),
  label: z
    .string()
    .regex(/^[^=]+=.*$/, "must be NAME=VALUE")
    .optional(),
  limit: z.coerce.number().int().min(1).max(LIST_MAX).default(LIST_MAX),
  cursor: nodeIdSchema.optional(),
});
const detailQuerySchema = z.object({
  history: z.coerce.number().int().min(0).max(NODE_EVENTS_MAX).default(HISTORY_DEFAULT),
});
const removeQuerySchema = z.object({ block: z.enum(["true", "false"]).optional() });
type ListQuery = z.output<typeof listQuerySchema>;

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
    registry.deregister(node.id);
    return c.body(null, 204);
  });

  routes.get("/:id/events", async (c) => {
    const claims = await claimsOf(deps, c);
    if (claims === undefined) return fail(c, "unauthorized");
    const node = ownNode(deps, c, claims, claims.instanceId, claims.epoch);
    if (node instanceof Response) return node;
    registry.heard(node.id);
    return new Response(deps.streams.open(claims, c.env), {
      headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" },
    });
  });

  routes.get("/", (c) => {
    const query = check(listQuerySchema, c.req.query());
    if (!query.ok) return fail(c, "bad_request", query.detail);
    return c.json(listNodes(registry, query.data));
  });

  routes.get("/:id", (c) => {
    const query = check(detailQuerySchema, c.req.query());
    if (!query.ok) return fail(c, "bad_request", query.detail);
    const node = registry.get(c.req.param("id") as NodeId);
    if (node === undefined) return fail(c, "unknown_node");
    const history = [...registry.history(node.id, query.data.history)];
    return c.json({ ...nodeView(registry, node), history } satisfies NodeDetail);
  });

  routes.delete("/:id", (c) => {
    const id = nodeIdSchema.safeParse(c.req.param("id")).data;
    const query = check(removeQuerySchema, c.req.query());
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

/** A page of nodes by id; `next_cursor` is the last id of the page while there are more. (R8) */
function listNodes(registry: Registry, query: ListQuery): NodeList {
  const agents: NodeView[] = [];
  for (const node of registry.list()) {
    if (query.cursor !== undefined && node.id <= query.cursor) continue;
    const view = nodeView(registry, node);
    if (!isWanted(view, query)) continue;
    if (agents.length === query.limit) return { agents, next_cursor: agents.at(-1)!.node_id };
    agents.push(view);
  }
  return { agents };
}

function isWanted(view: NodeView, query: ListQuery): boolean {
  if (query.status !== undefined && view.state !== query.status) return false;
  if (query.group !== undefined && view.group !== query.group) return false;
  if (query.runtime !== undefined && !view.runtimes.some((r) => r.name === query.runtime))
    return false;
  if (query.label === undefined) return true;
  const at = query.label.indexOf("=");
  return view.labels[query.label.slice(0, at)] === query.label.slice(at + 1);
}

function nodeView(registry: Registry, node: Node): NodeView {
  const { row } = node;
  return {
    node_id: node.id,
    kind: row.kind,
    state: registry.stateOf(node),
    name: row.name,
    group: row.group,
    class: row.class,
    labels: row.labels,
    version: row.version,
    agent_url: row.agentUrl,
    platform: row.platform,
    runtimes: row.runtimes,
    sensors: row.sensors,
    capabilities: row.capabilities,
    instance_id: row.instanceId,
    epoch: row.epoch,
    first_seen: row.firstSeen,
    last_seen: row.lastSeen,
    counters: node.counters,
  };
}

const requireProtocol: MiddlewareHandler = async (c, next) => {
  if (c.req.header(PROTOCOL_HEADER) !== String(PROTOCOL_VERSION)) return fail(c, "bad_protocol");
  return next();
};
