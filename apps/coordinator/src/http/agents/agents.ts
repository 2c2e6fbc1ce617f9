/** The routes by which a registered agent keeps its node alive: heartbeat, deregister and the event stream. (C1, R7, R9) */
import type { Clock } from "@fleet/daemon";
import { agentsApi, type InstanceId, type NodeId } from "@fleet/protocol";
import type { Context } from "hono";
import type { AgentStreams } from "../../agent-streams/agent-streams.ts";
import { acceptCounters } from "../../registry/counters.ts";
import type { Node } from "../../registry/node.ts";
import type { Registry } from "../../registry/registry.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";
import type { AppEnv } from "../server.ts";

/** What the routes need. */
export interface AgentRoutesDeps {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly streams: AgentStreams;
}

/** The routes. */
export function agentRoutes({ registry, clock, streams }: AgentRoutesDeps): readonly Route[] {
  return [
    handle(agentsApi.heartbeat, (c, { params, body }) => {
      const node = ownNode(registry, c, params.id, body.instance_id, body.epoch);
      if (node instanceof Response) return node;
      registry.heard(node.id, acceptCounters(body.counters, node.row.sensors));
      return {
        server_time_ms: clock.nowMs(),
        commands_waiting: 0,
        // Only a register ends a SHUTDOWN.
        reregister: node.row.shutdownAt !== null,
      };
    }),

    handle(agentsApi.deregister, async (c, { params, body }) => {
      const node = ownNode(registry, c, params.id, body.instance_id, body.epoch);
      if (node instanceof Response) return node;
      const { counters } = body;
      registry.heard(node.id, counters && acceptCounters(counters, node.row.sensors));
      await registry.deregister(node.id);
      return undefined;
    }),

    handle(agentsApi.events, (c, { params }) => {
      const claims = c.get("claims");
      const node = ownNode(registry, c, params.id, claims.instanceId, claims.epoch);
      if (node instanceof Response) return node;
      registry.heard(node.id);
      // A HEAD has no body to stream to.
      const body = c.req.method === "HEAD" ? null : streams.open(claims, c.env);
      return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    }),
  ];
}

/**
 * The path's node if the token's instance may speak for it, else the error response. Synchronous, so that the result still
 * holds. (R9)
 */
function ownNode(
  registry: Registry,
  c: Context<AppEnv>,
  id: NodeId,
  instanceId: InstanceId,
  epoch: number,
): Node | Response {
  const claims = c.get("claims");
  const isOwn = claims.nodeId === id && claims.instanceId === instanceId && claims.epoch === epoch;
  if (!isOwn) return fail(c, "forbidden");
  const standing = registry.standing(id, instanceId, epoch);
  if (standing === "superseded" || standing === "blocked") return fail(c, standing);
  const node = registry.get(id);
  return standing === "unknown" || node === undefined ? fail(c, "unknown_node") : node;
}
