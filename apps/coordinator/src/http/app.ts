/** The coordinator's HTTP application: all routes, behind the middleware that every request passes. (H4, H5) */
import { type Counts, type Log, LogLimiter } from "@fleet/daemon";
import { downloadsApi } from "@fleet/protocol";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { methodNotAllowed } from "hono/method-not-allowed";
import { secureHeaders } from "hono/secure-headers";
import type { Auth } from "../auth/auth.ts";
import { withoutTokens } from "../auth/secret-text.ts";
import type { Bus } from "../bus.ts";
import type { TrackerManager } from "../trackers/manager.ts";
import { type AgentRoutesDeps, agentRoutes } from "./agents/agents.ts";
import type { RegisterDeps } from "./agents/enrol.ts";
import { registerUrlRoute } from "./agents/register-url.ts";
import { registerRoute } from "./agents/register.ts";
import {
  type AgentDownloadDeps,
  agentDownloadRoutes,
  countDownloads,
} from "./downloads/agent-downloads.ts";
import { installScriptRoute } from "./downloads/install-script.ts";
import { access } from "./middleware/access.ts";
import { codeOfThrown, fail } from "./middleware/errors.ts";
import { guard } from "./middleware/guard.ts";
import { referenceRoutes } from "./openapi/routes.ts";
import { blockedNodeRoutes } from "./operators/blocked-nodes.ts";
import { eventRoute } from "./operators/event-stream.ts";
import { nodeRoutes } from "./operators/nodes.ts";
import { type ServiceDeps, serviceRoutes } from "./operators/service.ts";
import { tokenRoutes } from "./operators/tokens.ts";
import { trackerRoutes } from "./operators/trackers.ts";
import { type WhoamiDeps, whoamiRoute } from "./operators/whoami.ts";
import type { Route } from "./route.ts";
import type { AppEnv } from "./server.ts";

const BODY_BYTES_MAX = 256 * 1024;
const LOGGED_PATH_CHARS_MAX = 200;

/** What the routes need. */
export interface AppDeps
  extends AgentRoutesDeps, RegisterDeps, AgentDownloadDeps, WhoamiDeps, ServiceDeps {
  readonly auth: Auth;
  readonly log: Log;
  readonly manager: TrackerManager;
  readonly bus: Bus;
  /** Counts the responses to downloads of an agent, by status. */
  readonly downloadResponses: Counts;
}

function routesOf(deps: AppDeps): readonly Route[] {
  const { auth, bus, clock, log, manager, registry } = deps;
  return [
    registerRoute(deps),
    registerUrlRoute(deps),
    ...agentRoutes(deps),
    ...nodeRoutes(registry),
    ...blockedNodeRoutes(registry),
    ...trackerRoutes(manager),
    eventRoute(bus, clock, auth.tokens),
    ...tokenRoutes(auth, log),
    whoamiRoute(deps),
    ...agentDownloadRoutes(deps),
    installScriptRoute(),
    ...serviceRoutes(deps),
    ...referenceRoutes(deps.version),
  ];
}

/** Responses can hold credentials or what only operators may see, so they are not cached unless a handler allows it. */
const noStore: MiddlewareHandler = async (c, next) => {
  await next();
  if (!c.res.headers.has("Cache-Control")) c.res.headers.set("Cache-Control", "no-store");
};

/** Lists the path's methods in `Allow` (RFC 9110 §15.5.6), which is all that OPTIONS asks for. */
function onMethodNotAllowed(c: Context, methods: string[]): Response {
  c.header("Allow", [...methods, "OPTIONS"].join(", "));
  return c.req.method === "OPTIONS" ? c.body(null, 204) : fail(c, "method_not_allowed");
}

/** Builds the application. */
export function createApp(deps: AppDeps): Hono<AppEnv> {
  const { auth, log } = deps;
  const app = new Hono<AppEnv>();

  app.use(secureHeaders());
  app.use(noStore);
  app.use(guard(auth));
  app.use(downloadsApi.binary.path, countDownloads(deps.downloadResponses, log));
  app.use(access(auth));
  app.use(methodNotAllowed({ app, onMethodNotAllowed }));
  app.notFound((c) => fail(c, "not_found"));
  const logLimiter = new LogLimiter(deps.clock);
  app.onError((err, c) => {
    const path = withoutTokens(c.req.path).slice(0, LOGGED_PATH_CHARS_MAX);
    const request = { method: c.req.method, path };
    const code = codeOfThrown(err);
    // A client that hangs up in the middle of its request is not our failure, and may do so again and again.
    if (c.req.raw.signal.aborted) log.debug(request, "request aborted");
    else {
      const held = logLimiter.pass(`${code} ${err.name}`);
      if (held !== undefined) log.error({ err, ...request, held_back: held }, "request failed");
    }
    return fail(c, code);
  });
  // It reads a chunked body whole, so it comes last: strangers and unknown paths are answered before any of it is read.
  const limit = bodyLimit({
    maxSize: BODY_BYTES_MAX,
    onError: (c: Context) => fail(c, "too_large"),
  });
  for (const { contract, handler } of routesOf(deps)) {
    if (contract.body === undefined) app.on(contract.method, contract.path, handler);
    else app.on(contract.method, contract.path, limit, handler);
  }
  return app;
}
