/**
 * Who may use which route: one table, and the middleware that holds every request against it. A route that is not in it
 * answers nobody. What changes something and takes a role is written into the audit log. (H5)
 */
import type { Role } from "@fleet/protocol";
import type { MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import type { Auth } from "../../auth/auth.ts";
import { bearerToken } from "./body.ts";
import { fail } from "./errors.ts";
import type { AppEnv } from "../server.ts";

/**
 * A role: an operator token of at least that role. `open`: anybody. The others are seen to by the routes themselves: `node`
 * takes a node's credentials or, to register, an enrolment token; `download` an enrolment token or a viewer's; `token` those the
 * document names.
 */
export type Access = "open" | "node" | "download" | "token" | Role;

/** By method and path as they are registered. */
export const ACCESS = {
  "GET /healthz": "open",
  "GET /readyz": "open",
  "GET /metrics": "open",
  "GET /install.sh": "open",
  "GET /openapi.json": "open",
  "GET /docs": "open",
  "GET /api/v1/auth/whoami": "token",
  "POST /api/v1/auth/rotate-key": "admin",
  "GET /api/v1/agent/binary": "download",
  "POST /api/v1/agent/binary": "download",
  "GET /api/v1/agent/info": "download",
  "POST /api/v1/agent/info": "download",
  "POST /api/nodes/register": "token",
  "POST /api/v1/agents/register": "node",
  "POST /api/v1/agents/:id/heartbeat": "node",
  "POST /api/v1/agents/:id/deregister": "node",
  "GET /api/v1/agents/:id/events": "node",
  "GET /api/v1/agents": "viewer",
  "GET /api/v1/agents/:id": "viewer",
  "DELETE /api/v1/agents/:id": "admin",
  "GET /api/v1/blocked-nodes": "viewer",
  "PUT /api/v1/blocked-nodes/:id": "admin",
  "DELETE /api/v1/blocked-nodes/:id": "admin",
  "GET /api/v1/trackers": "viewer",
  "GET /api/v1/trackers/:stream": "viewer",
  "GET /api/v1/trackers/:stream/tracks": "viewer",
  "GET /api/v1/events": "viewer",
  "GET /api/v1/tokens": "admin",
  "POST /api/v1/tokens": "admin",
  "DELETE /api/v1/tokens/:id": "admin",
  "GET /api/v1/audit": "admin",
} as const satisfies Record<string, Access>;

/** The routes there are: `METHOD /path`. */
export type Route = keyof typeof ACCESS;

const RANK: Readonly<Record<Role, number>> = { viewer: 1, operator: 2, admin: 3 };

/** Lets those through who may, and writes down what they did or were refused. */
export function access(auth: Auth): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const routes = matchedRoutes(c).filter((route) => route.method !== "ALL");
    // No route: what there isn't is 404 for everybody.
    if (routes.length === 0) return next();
    const route = routes
      .map(({ method, path }) => `${method} ${path}`)
      .find((key) => key in ACCESS) as Route | undefined;
    if (route === undefined) return fail(c, "not_found");
    const needed: Access = ACCESS[route];
    if (!isRole(needed)) return next();
    const token = auth.tokens.find("operator", bearerToken(c));
    if (token === undefined) return fail(c, "unauthorized");
    c.set("token", token);
    const isAllowed = token.role !== null && RANK[token.role] >= RANK[needed];
    const address = c.env.peer();
    if (isAllowed) await next();
    else c.res = fail(c, "forbidden", `this takes the role ${needed}, the token has ${token.role}`);
    if (route.startsWith("GET ")) return undefined;
    auth.audit.record({
      actor: token.name,
      address,
      action: route,
      subject: c.get("subject") ?? idIn(route, c.req.path),
      outcome: c.res.ok ? "ok" : (c.get("errorCode") ?? String(c.res.status)),
    });
    return undefined;
  };
}

function isRole(needed: Access): needed is Role {
  return needed in RANK;
}

/** What stands in the path where the route has its first parameter. */
function idIn(route: string, path: string): string | null {
  const at = route
    .slice(route.indexOf("/"))
    .split("/")
    .findIndex((part) => part.startsWith(":"));
  return at < 0 ? null : (path.split("/")[at]?.slice(0, 256) ?? null);
}
