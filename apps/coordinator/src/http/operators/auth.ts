/** `/api/v1/auth/whoami`: tells the bearer of any valid token what it is. Reads only: nobody counts as heard by it. (A9, H5) */
import type { Clock } from "@fleet/daemon";
import { PROTOCOL_VERSION, type WhoamiResponse } from "@fleet/protocol";
import { Hono } from "hono";
import type { Auth, Bearer } from "../../auth/auth.ts";
import type { Registry } from "../../registry/registry.ts";
import { bearerToken } from "../middleware/body.ts";
import { fail } from "../middleware/errors.ts";
import { frameEndpoint, type Frames } from "../agents/frame-endpoint.ts";
import type { AppEnv } from "../server.ts";

/** What the route works with. */
interface AuthRoutesDeps {
  readonly auth: Auth;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly version: string;
  readonly frames: Frames;
}

/** The route below `/api/v1/auth`. */
export function authRoutes({
  auth,
  registry,
  clock,
  version,
  frames,
}: AuthRoutesDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  routes.get("/whoami", async (c) => {
    const bearer = await auth.identify(bearerToken(c));
    if (bearer === undefined || isVoid(registry, bearer)) return fail(c, "unauthorized");
    const answer: WhoamiResponse = {
      kind: bearer.kind,
      ...(bearer.nodeId === undefined ? {} : { node_id: bearer.nodeId }),
      ...(bearer.name === undefined ? {} : { name: bearer.name }),
      ...(bearer.role === undefined ? {} : { role: bearer.role }),
      protocol: PROTOCOL_VERSION,
      version,
      server_time_ms: clock.nowMs(),
      frames: frameEndpoint(frames, c),
    };
    c.header("Cache-Control", "no-store");
    return c.json(answer);
  });
  return routes;
}

/** Whether its node no longer honours it. */
function isVoid(registry: Registry, { kind, nodeId, epoch }: Bearer): boolean {
  if (kind === "access") return registry.get(nodeId!)?.row.epoch !== epoch;
  return kind === "refresh" && !registry.honours(nodeId!, epoch!);
}
