/** `/api/v1/blocked-nodes`: the ids that nobody may use; `DELETE agents/{id}?block=true` adds one, too. (R4) */
import { type BlockedList, type NodeId, nodeIdSchema } from "@fleet/protocol";
import { Hono } from "hono";
import type { z } from "zod";
import type { Registry } from "../../registry/registry.ts";
import { fail } from "../middleware/errors.ts";
import { blockedListQuery, cursorAfter, parseQuery } from "../middleware/queries.ts";
import type { AppEnv } from "../server.ts";

/** The routes below `/api/v1/blocked-nodes`. */
export function blockedNodeRoutes(registry: Registry): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();

  routes.get("/", (c) => {
    const query = parseQuery(c, blockedListQuery);
    if (!query.ok) return fail(c, "bad_request", query.detail);
    return c.json(listBlocked(registry, query.data));
  });

  routes.put("/:id", (c) => {
    const id = nodeIdSchema.safeParse(c.req.param("id"));
    if (!id.success) return fail(c, "bad_request", "node_id: not an id");
    return registry.block(id.data) ? c.body(null, 204) : fail(c, "too_many_blocked");
  });

  routes.delete("/:id", (c) =>
    registry.unblock(c.req.param("id") as NodeId) ? c.body(null, 204) : fail(c, "unknown_node"),
  );

  return routes;
}

/** A page by id; `next_cursor` while there are more. */
function listBlocked(
  registry: Registry,
  { limit, cursor }: z.output<typeof blockedListQuery>,
): BlockedList {
  const rest = registry
    .blocked()
    .filter((row) => cursor === undefined || row.nodeId > cursor)
    .map((row) => ({ node_id: row.nodeId as NodeId, blocked_at: row.blockedAt }));
  const blocked = rest.slice(0, limit);
  return rest.length > limit
    ? { blocked, next_cursor: cursorAfter(blocked.at(-1)!.node_id) }
    : { blocked };
}
