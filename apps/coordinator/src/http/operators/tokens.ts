/** `/api/v1/tokens` and `/api/v1/audit`: who may do what, and who did. For admins (http/access.ts). (H5) */
import type { Log } from "@fleet/daemon";
import { type CreatedToken, createTokenRequestSchema, type TokenList } from "@fleet/protocol";
import { Hono } from "hono";
import type { Auth } from "../../auth/auth.ts";
import { bearerToken, parseBody } from "../middleware/body.ts";
import { fail } from "../middleware/errors.ts";
import { auditQuery, parseQuery } from "../middleware/queries.ts";
import type { AppEnv } from "../server.ts";

/** The routes below `/api/v1/tokens`. */
export function tokenRoutes({ tokens }: Auth): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();

  routes.get("/", (c) => {
    const body: TokenList = { tokens: [...tokens.list()] };
    return c.json(body);
  });

  routes.post("/", async (c) => {
    const body = await parseBody(c, createTokenRequestSchema);
    if (!body.ok) return fail(c, "bad_request", body.detail);
    c.set("subject", body.data.name);
    // The body may have been long in coming, and the token that ordered it have ended.
    if (tokens.find("operator", bearerToken(c)) === undefined) return fail(c, "unauthorized");
    const outcome = tokens.create(body.data, c.get("token")!.name);
    if (outcome.at !== "created")
      return fail(c, outcome.at === "too_many" ? "too_many_tokens" : "token_exists");
    const answer: CreatedToken = { token: outcome.view, secret: outcome.secret };
    return c.json(answer, 201);
  });

  routes.delete("/:id", (c) => {
    const outcome = tokens.revoke(c.req.param("id"));
    if (outcome === "unknown") return fail(c, "unknown_token");
    return outcome === "configured" ? fail(c, "token_configured") : c.body(null, 204);
  });

  return routes;
}

/** The route below `/api/v1/audit`. */
export function auditRoutes({ audit }: Auth): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  routes.get("/", (c) => {
    const query = parseQuery(c, auditQuery);
    if (!query.ok) return fail(c, "bad_request", query.detail);
    return c.json(audit.list(query.data.limit, query.data.cursor));
  });
  return routes;
}

/** `POST /api/v1/auth/rotate-key`: agents' credentials are signed with a new key from now on. */
export function keyRoutes({ credentials }: Auth, log: Log): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  routes.post("/rotate-key", (c) => {
    credentials.rotateKey();
    log.warn({}, "the key of agents' credentials was replaced");
    return c.body(null, 204);
  });
  return routes;
}
