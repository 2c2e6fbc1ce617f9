/**
 * Authenticates every request as the contract of its route demands, before the handler runs. A path without a contract
 * answers nobody. Requests that need a role and change something are written into the audit log. (H5)
 */
import { type Access, CONTRACTS, type Role, routeOf } from "@fleet/protocol";
import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import type { Auth } from "../../auth/auth.ts";
import type { AppEnv } from "../server.ts";
import { authenticate } from "./authenticate.ts";
import { fail } from "./errors.ts";
import { bearerToken } from "./input.ts";

/** The access of each route: `METHOD /path` → access. */
export const ACCESS: Readonly<Record<string, Access>> = Object.fromEntries(
  CONTRACTS.map((contract) => [routeOf(contract), contract.access]),
);

const RANK: Readonly<Record<Role, number>> = { viewer: 1, operator: 2, admin: 3 };

/**
 * Lets a request through, or responds with 401, 403 or 404. What it finds out about the token is in the context's variables.
 */
export function access(auth: Auth): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const routes = matchedRoutes(c).filter((route) => route.method !== "ALL");
    // Without a route the response is 404 or 405 for everybody.
    if (routes.length === 0) return next();
    const route = routes.map(routeOf).find((key) => key in ACCESS);
    if (route === undefined) return fail(c, "not_found");
    const needed = ACCESS[route]!;
    if (isRole(needed)) return withRole(auth, c, route, needed, next);
    return (await authenticate(auth, c, needed)) ?? next();
  };
}

async function withRole(
  auth: Auth,
  c: Context<AppEnv>,
  route: string,
  needed: Role,
  next: () => Promise<void>,
): Promise<Response | undefined> {
  const token = auth.tokens.find("operator", bearerToken(c));
  if (token === undefined) return fail(c, "unauthorized");
  c.set("token", token);
  const isAllowed = token.role !== null && RANK[token.role] >= RANK[needed];
  const address = c.env.peer();
  if (isAllowed) await next();
  else {
    const detail = `this requires the role ${needed}, but the token has ${token.role}`;
    c.res = fail(c, "forbidden", detail);
  }
  if (route.startsWith("GET ")) return undefined;
  auth.audit.record({
    actor: token.name,
    address,
    action: route,
    subject: c.get("subject") ?? firstParam(route, c.req.path),
    outcome: c.res.ok ? "ok" : (c.get("errorCode") ?? String(c.res.status)),
  });
  return undefined;
}

function isRole(needed: Access): needed is Role {
  return needed in RANK;
}

/** The path's value for the route's first parameter. */
function firstParam(route: string, path: string): string | null {
  const at = route
    .slice(route.indexOf("/"))
    .split("/")
    .findIndex((part) => part.startsWith(":"));
  return at < 0 ? null : (path.split("/")[at]?.slice(0, 256) ?? null);
}
