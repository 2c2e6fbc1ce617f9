/** The routes about the coordinator itself: health, readiness and metrics. */
import { serviceApi } from "@fleet/protocol";
import type { Metrics } from "../../metrics/metrics.ts";
import type { Auth } from "../../auth/auth.ts";
import { fail } from "../middleware/errors.ts";
import { bearerToken } from "../middleware/input.ts";
import { handle, type Route } from "../route.ts";

/** What the routes need. */
export interface ServiceDeps {
  readonly metrics: Metrics;
  readonly version: string;
  /** Whether `/metrics` requires an operator token. */
  readonly isMetricsClosed: boolean;
  readonly auth: Auth;
  /** Whether the database can be written. */
  readonly isWritable: () => boolean;
}

/** The routes. */
export function serviceRoutes(deps: ServiceDeps): readonly Route[] {
  const { metrics, version, isWritable, isMetricsClosed, auth } = deps;
  return [
    handle(serviceApi.health, () => ({ status: "ok" as const, version })),

    handle(serviceApi.readiness, (c) =>
      isWritable()
        ? { status: "ready" as const }
        : c.json({ status: "not_ready", reason: "the database cannot be written" }, 503),
    ),

    handle(serviceApi.metrics, async (c) => {
      if (isMetricsClosed && auth.tokens.find("operator", bearerToken(c)) === undefined)
        return fail(c, "unauthorized");
      return c.body(await metrics.render(), 200, { "Content-Type": metrics.contentType });
    }),
  ];
}
