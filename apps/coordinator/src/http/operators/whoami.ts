/** `GET /api/v1/auth/whoami`: describes the bearer token. Reads only: the node does not count as heard. (A9, H5) */
import type { Clock } from "@fleet/daemon";
import { accessApi, PROTOCOL_VERSION } from "@fleet/protocol";
import type { Bearer } from "../../auth/auth.ts";
import type { Registry } from "../../registry/registry.ts";
import { frameEndpoint, type Frames } from "../agents/frame-endpoint.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";

/** What the route needs. */
export interface WhoamiDeps {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly version: string;
  readonly frames: Frames;
}

/** The route. */
export function whoamiRoute({ registry, clock, version, frames }: WhoamiDeps): Route {
  return handle(accessApi.whoami, (c) => {
    const bearer = c.get("bearer");
    if (isVoid(registry, bearer)) return fail(c, "unauthorized");
    return {
      kind: bearer.kind,
      ...(bearer.nodeId === undefined ? {} : { node_id: bearer.nodeId }),
      ...(bearer.name === undefined ? {} : { name: bearer.name }),
      ...(bearer.role === undefined ? {} : { role: bearer.role }),
      protocol: PROTOCOL_VERSION,
      version,
      server_time_ms: clock.nowMs(),
      frames: frameEndpoint(frames, c),
    };
  });
}

/** Whether the registry no longer honours a node's own token. */
function isVoid(registry: Registry, { kind, nodeId, epoch }: Bearer): boolean {
  if (kind === "access") return registry.get(nodeId!)?.row.epoch !== epoch;
  return kind === "refresh" && !registry.honours(nodeId!, epoch!);
}
