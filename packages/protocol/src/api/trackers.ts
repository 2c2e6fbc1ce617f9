/** The operators' routes for trackers and their tracks. (T9) */
import { z } from "zod";
import { nodeIdSchema, streamIdSchema } from "../ids.ts";
import { contract } from "./contract.ts";
import { count, cursorOf, limit, nextCursor, REPEATED_MAX } from "./fields.ts";

const trackerState = z.enum(["STOPPED", "STARTING", "RUNNING", "OUTAGE", "BACKOFF", "STOPPING"]);
const streamId = streamIdSchema.describe(
  "The stream: `<node>.<sensor>`, or `<node>` for a plain node.",
);

/** A tracker as `GET trackers` lists it. */
export const trackerViewSchema = z
  .object({
    stream_id: streamId,
    node_id: nodeIdSchema.describe("The node that the stream belongs to."),
    state: trackerState.describe(
      "The state of the tracker process; OUTAGE when it runs but frames have stopped arriving.",
    ),
    source: z
      .enum(["config", "auto"])
      .describe(
        "`config`: the configuration names the stream. `auto`: its first frame created it.",
      ),
    name: z.string().nullable().describe("The name in the configuration; null for other streams."),
    mode: z
      .enum(["tcp", "http"])
      .describe("`tcp`: frames are pushed over TCP. `http`: the coordinator fetches them."),
    url: z
      .string()
      .nullable()
      .describe("The URL that frames are fetched from, without credentials; null in mode `tcp`."),
    port: z
      .int()
      .nullable()
      .describe("The local TCP port that the tracker listens on; null if it has none."),
    run: count.describe("The number of the tracker's current run. Increases with each start."),
    pid: z.int().nullable().describe("The process id; null when no process runs."),
    frames: count.describe("Frames that the coordinator has accepted for the stream."),
    frames_waiting: count.describe("Frames in the queue, not yet delivered to the tracker."),
    frames_dropped: z
      .record(z.string(), count)
      .describe("Frames that never reached the tracker: reason → count."),
    frames_redelivered: count.describe("Frames delivered again after a run had ended."),
    frames_per_s: z.number().describe("Frames per second over the last 5 s."),
    events: count.describe("Track events that the tracker has printed."),
    tracks: count.describe("Tracks in memory."),
    tracks_live: count.describe("Tracks in memory that have not ended."),
    last_frame_at: z
      .int()
      .nullable()
      .describe("When the latest frame arrived, in Unix ms; null before the first."),
  })
  .meta({ id: "Tracker" });
export type TrackerView = z.infer<typeof trackerViewSchema>;

/** `GET trackers`. */
export const trackerListSchema = z
  .object({
    trackers: z.array(trackerViewSchema).describe("Trackers, ordered by stream id."),
    next_cursor: nextCursor,
  })
  .meta({ id: "TrackerList" });
export type TrackerList = z.infer<typeof trackerListSchema>;

/** `GET trackers/{stream}/tracks`: the latest event of each track in memory, newest first. */
export const trackListSchema = z
  .object({
    stream_id: streamId,
    tracks: z
      .array(
        z.looseObject({
          track_id: z.string().describe("The track's id, unique within one run of the tracker."),
          run: count.describe("The run of the tracker that printed the event."),
        }),
      )
      .describe(
        "The latest event of each track, newest first, with all fields that the tracker printed.",
      ),
  })
  .meta({ id: "TrackList" });
export type TrackList = z.infer<typeof trackListSchema>;

const trackerListQuery = z.object({
  state: z
    .array(trackerState)
    .max(REPEATED_MAX)
    .default([])
    .describe("Trackers in this state. Repeat it to match any of several states."),
  node_id: nodeIdSchema.optional().describe("Trackers of this node's streams."),
  mode: z
    .enum(["tcp", "http"])
    .optional()
    .describe("Trackers whose frames are pushed (`tcp`) or fetched (`http`)."),
  limit,
  cursor: cursorOf(streamIdSchema),
});
export type TrackerListQuery = z.output<typeof trackerListQuery>;

const ofStream = {
  method: "GET",
  access: "viewer",
  tag: "trackers",
  params: { stream: streamId },
  badParam: "unknown_stream",
} as const;

export const trackersApi = {
  list: contract({
    method: "GET",
    path: "/api/v1/trackers",
    access: "viewer",
    tag: "trackers",
    summary: "List trackers",
    description: "Ordered by stream id. A tracker is listed when it matches every filter.",
    query: trackerListQuery,
    responses: { 200: { description: "A page of trackers.", schema: trackerListSchema } },
  }),
  get: contract({
    ...ofStream,
    path: "/api/v1/trackers/:stream",
    summary: "Get a tracker",
    responses: { 200: { description: "The tracker.", schema: trackerViewSchema } },
  }),
  tracks: contract({
    ...ofStream,
    path: "/api/v1/trackers/:stream/tracks",
    summary: "List the tracks of a stream",
    description: "The latest event of each track in memory, newest first.",
    responses: { 200: { description: "The tracks.", schema: trackListSchema } },
  }),
};
