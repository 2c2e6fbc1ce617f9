/** `/api/v1/trackers`: what runs for which stream, and the tracks it found. (T9) */
import type { StreamId, TrackerList, TrackerView, TrackList } from "@fleet/protocol";
import { Hono } from "hono";
import type { TrackerManager } from "../../trackers/manager.ts";
import { fail } from "../middleware/errors.ts";
import {
  cursorAfter,
  parseQuery,
  type TrackerListQuery,
  trackerListQuery,
} from "../middleware/queries.ts";
import type { AppEnv } from "../server.ts";

/** The routes below `/api/v1/trackers`. */
export function trackerRoutes(manager: TrackerManager): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();

  routes.get("/", (c) => {
    const query = parseQuery(c, trackerListQuery);
    if (!query.ok) return fail(c, "bad_request", query.detail);
    return c.json(listTrackers(manager, query.data));
  });

  routes.get("/:stream", (c) => {
    const tracker = manager.get(c.req.param("stream") as StreamId);
    return tracker === undefined ? fail(c, "unknown_stream") : c.json(tracker.toView());
  });

  routes.get("/:stream/tracks", (c) => {
    const tracker = manager.get(c.req.param("stream") as StreamId);
    if (tracker === undefined) return fail(c, "unknown_stream");
    const body: TrackList = { stream_id: tracker.streamId, tracks: tracker.view.list() };
    return c.json(body);
  });

  return routes;
}

/** A page by stream id, with `next_cursor` while there are more. */
function listTrackers(manager: TrackerManager, query: TrackerListQuery): TrackerList {
  const { state, node_id: node, mode, limit, cursor } = query;
  const trackers: TrackerView[] = [];
  for (const tracker of manager.list()) {
    if (cursor !== undefined && tracker.streamId <= cursor) continue;
    const view = tracker.toView();
    if (node !== undefined && view.node_id !== node) continue;
    if (mode !== undefined && view.mode !== mode) continue;
    if (state.length > 0 && !state.includes(view.state)) continue;
    if (trackers.length === limit)
      return { trackers, next_cursor: cursorAfter(trackers.at(-1)!.stream_id) };
    trackers.push(view);
  }
  return { trackers };
}
