/** The operators' routes for blocked ids, which no node may use. `DELETE agents/{id}?block=true` also blocks one. (R4) */
import { cursorAfter, type NodeId, nodesApi } from "@fleet/protocol";
import type { Registry } from "../../registry/registry.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";

/** The routes. */
export function blockedNodeRoutes(registry: Registry): readonly Route[] {
  return [
    handle(nodesApi.listBlocked, (_c, { query: { limit, cursor } }) => {
      const rest = registry
        .blocked()
        .filter((row) => cursor === undefined || row.nodeId > cursor)
        .map((row) => ({ node_id: row.nodeId as NodeId, blocked_at: row.blockedAt }));
      const blocked = rest.slice(0, limit);
      return rest.length > limit
        ? { blocked, next_cursor: cursorAfter(blocked.at(-1)!.node_id) }
        : { blocked };
    }),

    handle(nodesApi.block, async (c, { params }) =>
      (await registry.block(params.id)) ? undefined : fail(c, "too_many_blocked"),
    ),

    handle(nodesApi.unblock, async (c, { params }) =>
      (await registry.unblock(params.id)) ? undefined : fail(c, "unknown_node"),
    ),
  ];
}
