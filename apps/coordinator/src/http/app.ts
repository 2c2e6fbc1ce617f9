/** The coordinator's HTTP face: the routes put together, with what holds for all of them. (DESIGN §8, H4) */
import { bodyLimit } from "hono/body-limit";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { secureHeaders } from "hono/secure-headers";
import { withoutTokens } from "../auth/secret-text.ts";
import type { Bus } from "../bus.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { TrackerManager } from "../trackers/manager.ts";
import { access } from "./middleware/access.ts";
import { type AgentDownloadDeps, agentDownloadRoutes } from "./downloads/agent-downloads.ts";
import { type AgentRoutesDeps, agentRoutes } from "./agents/agents.ts";
import { authRoutes } from "./operators/auth.ts";
import { blockedNodeRoutes } from "./operators/blocked-nodes.ts";
import { codeOfThrown, errorLevel, fail } from "./middleware/errors.ts";
import { eventRoutes } from "./operators/event-stream.ts";
import { guard } from "./middleware/guard.ts";
import { installScript } from "./downloads/install-script.ts";
import { referenceRoutes } from "./openapi/routes.ts";
import { registerUrlRoutes } from "./agents/register-url.ts";
import type { AppEnv } from "./server.ts";
import { auditRoutes, keyRoutes, tokenRoutes } from "./operators/tokens.ts";
import { trackerRoutes } from "./operators/trackers.ts";

const BODY_BYTES_MAX = 256 * 1024;

/** What the application works with. */
export interface AppDeps extends AgentRoutesDeps, AgentDownloadDeps {
  readonly manager: TrackerManager;
  readonly bus: Bus;
  readonly metrics: Metrics;
  readonly version: string;
  /** Whether the database takes writes. */
  readonly isWritable: () => boolean;
}

/** Answers have credentials in them, or what only operators may see; whoever wants one cached says so. */
const noStore: MiddlewareHandler = async (c, next) => {
  await next();
  if (!c.res.headers.has("Cache-Control")) c.res.headers.set("Cache-Control", "no-store");
};

/** A path that is there, asked with a method that isn't: told which are (RFC 9110 §15.5.6), which is all OPTIONS wants. */
function onMethodNotAllowed(c: Context, methods: string[]): Response {
  c.header("Allow", [...methods, "OPTIONS"].join(", "));
  return c.req.method === "OPTIONS" ? c.body(null, 204) : fail(c, "method_not_allowed");
}

/** Builds the application; it holds no state of its own. */
export function createApp(deps: AppDeps): Hono<AppEnv> {
  const { auth, log } = deps;
  const app = new Hono<AppEnv>();

  app.use(secureHeaders());
  app.use(noStore);
  app.use(guard(auth));
  app.use(bodyLimit({ maxSize: BODY_BYTES_MAX, onError: (c: Context) => fail(c, "too_large") }));
  app.use(access(auth));
  app.use(methodNotAllowed({ app, onMethodNotAllowed }));
  app.notFound((c) => fail(c, "not_found"));
  app.onError((err, c) => {
    const code = codeOfThrown(err);
    const path = withoutTokens(c.req.path);
    log[errorLevel(code)]({ err, method: c.req.method, path }, "request failed");
    return fail(c, code);
  });

  app.get("/healthz", (c) => c.json({ status: "ok", version: deps.version }));
  app.get("/readyz", (c) =>
    deps.isWritable()
      ? c.json({ status: "ready" })
      : c.json({ status: "not_ready", reason: "the database takes no writes" }, 503),
  );
  app.get("/metrics", async (c) =>
    c.body(await deps.metrics.render(), 200, { "Content-Type": deps.metrics.contentType }),
  );

  app.get("/install.sh", installScript);
  app.route("/", referenceRoutes(deps.version));
  app.route("/api/v1/agent", agentDownloadRoutes(deps));
  app.route("/api/v1/agents", agentRoutes(deps));
  app.route("/api/nodes", registerUrlRoutes(deps));
  app.route("/api/v1/blocked-nodes", blockedNodeRoutes(deps.registry));
  app.route("/api/v1/auth", authRoutes(deps));
  app.route("/api/v1/auth", keyRoutes(auth, log));
  app.route("/api/v1/tokens", tokenRoutes(auth));
  app.route("/api/v1/audit", auditRoutes(auth));
  app.route("/api/v1/trackers", trackerRoutes(deps.manager));
  app.route("/api/v1/events", eventRoutes(deps.bus, deps.clock, auth.tokens));
  return app;
}
