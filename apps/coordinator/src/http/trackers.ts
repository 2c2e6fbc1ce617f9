/** `/api/v1/trackers`: what runs for which stream, and the tracks it found. (T9) */
import type { StreamId, TrackerList, TrackList } from "@fleet/protocol";
import { Hono } from "hono";
import type { TrackerManager } from "../trackers/manager.ts";
import { fail } from "./errors.ts";
import type { AppEnv } from "./server.ts";

/** The routes below `/api/v1/trackers`. */
export function trackerRoutes(manager: TrackerManager): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();

  routes.get("/", (c) => {
    const body: TrackerList = { trackers: manager.list().map((t) => t.toView()) };
    return c.json(body);
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
