/** The operators' routes for trackers and their tracks. (T9) */
import {
  cursorAfter,
  type TrackerList,
  type TrackerListQuery,
  trackersApi,
  type TrackerView,
} from "@fleet/protocol";
import type { TrackerManager } from "../../trackers/manager.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";

/** The routes. */
export function trackerRoutes(manager: TrackerManager): readonly Route[] {
  return [
    handle(trackersApi.list, (_c, { query }) => listTrackers(manager, query)),

    handle(
      trackersApi.get,
      (c, { params }) => manager.get(params.stream)?.toView() ?? fail(c, "unknown_stream"),
    ),

    handle(trackersApi.tracks, (c, { params }) => {
      const tracker = manager.get(params.stream);
      if (tracker === undefined) return fail(c, "unknown_stream");
      return { stream_id: tracker.streamId, tracks: tracker.tracks.list() };
    }),
  ];
}

/** A page of trackers, ordered by stream id. */
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
