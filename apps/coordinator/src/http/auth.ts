/** `/api/v1/auth/whoami`: tells the bearer of any valid token what it is. Reads only: nobody counts as heard by it. (A9, H5) */
import type { Clock } from "@fleet/daemon";
import { PROTOCOL_VERSION, type WhoamiResponse } from "@fleet/protocol";
import { Hono } from "hono";
import type { Auth } from "../auth.ts";
import { type AgentRoutesDeps, frameEndpoint } from "./agents.ts";
import { bearerToken } from "./body.ts";
import { fail } from "./errors.ts";

/** What the route works with. */
interface AuthRoutesDeps {
  readonly auth: Auth;
  readonly clock: Clock;
  readonly version: string;
  readonly frames: AgentRoutesDeps["frames"];
}

/** The route below `/api/v1/auth`. */
export function authRoutes({ auth, clock, version, frames }: AuthRoutesDeps): Hono {
  const routes = new Hono();
  routes.get("/whoami", async (c) => {
    const bearer = await auth.identify(bearerToken(c));
    if (bearer === undefined) return fail(c, "unauthorized");
    const answer: WhoamiResponse = {
      kind: bearer.kind,
      ...(bearer.nodeId === undefined ? {} : { node_id: bearer.nodeId }),
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
