/** Renders the demo's state as lines of text: a screen of tables, or one line where there is no terminal. Pure. */
import type { NodeView } from "../../packages/protocol/src/index.ts";
import { type Column, fit, renderTable } from "./table.ts";
import { type DemoView, type NodeStatus, totals } from "./view.ts";

const NODE_COLUMNS: readonly Column[] = [
  { title: "NODE" },
  { title: "STATE" },
  { title: "VERSION" },
  { title: "LAST SEEN", align: "right" },
  { title: "RUNTIMES", shrinks: true },
];

const STREAM_COLUMNS: readonly Column[] = [
  { title: "STREAM" },
  { title: "SENSOR" },
  { title: "TRACKER" },
  { title: "FRAMES/S", align: "right" },
  { title: "FRAMES", align: "right" },
  { title: "TRACKS", align: "right" },
  { title: "LIVE NOW", align: "right" },
];

/** Renders the screen. No line is wider than `width`. */
export function renderScreen(view: DemoView, width: number): readonly string[] {
  const { httpUrl, framesPort, operatorTokenFile, dir, nodes } = view;
  const stream = nodes.find((n) => n.stream !== undefined)?.stream?.stream_id ?? "radar1.radar";
  const nodeRows = nodes.map((status) => nodeRow(status, view.nowMs));
  const streamRows = [...nodes.flatMap(streamRow), totalRow(view)];
  const below = [
    ...notes(view),
    `Coordinator:   ${httpUrl}, frames on 127.0.0.1:${framesPort}`,
    `Data and logs: ${dir}`,
    "Try:",
    `  H="Authorization: Bearer $(cat ${operatorTokenFile})"`,
    `  curl -H "$H" ${httpUrl}/api/v1/agents`,
    `  curl -H "$H" ${httpUrl}/api/v1/trackers/${stream}/tracks`,
  ];
  return [
    ...renderTable(NODE_COLUMNS, nodeRows, width),
    "",
    ...renderTable(STREAM_COLUMNS, streamRows, width),
    "",
    ...below.map((line) => fit(line, width)),
  ];
}

/** Renders a summary in one line. */
export function renderLine(view: DemoView): string {
  const { live, framesPerS, frames, tracks, tracksLive } = totals(view);
  const parts = [
    seconds(view.elapsedMs).padStart(5),
    `${live} of ${view.nodes.length} nodes LIVE`,
    `${framesPerS.toFixed(1)} frames/s, ${frames} in total`,
    `${tracks} tracks confirmed, ${tracksLive} live now`,
  ];
  return [...parts, ...notes(view)].join("  ·  ");
}

function nodeRow({ node, registered, end }: NodeStatus, nowMs: number): readonly string[] {
  if (node.at === "skipped") return [node.name, "skipped", "", "", node.reason];
  if (registered === undefined)
    return [node.name, end === undefined ? "starting" : "ended", "", "", end ?? ""];
  return [
    node.name,
    registered.state,
    registered.version ?? "",
    `${seconds(Math.max(0, nowMs - registered.last_seen))} ago`,
    registered.runtimes.map(runtimeText).join(", "),
  ];
}

function runtimeText({ name, version }: NodeView["runtimes"][number]): string {
  return version === null ? name : `${name} ${version}`;
}

function streamRow({ node, registered, stream }: NodeStatus): readonly (readonly string[])[] {
  if (stream === undefined) return [];
  const sensor = registered?.sensors.find(({ name }) => stream.stream_id.endsWith(`.${name}`));
  return [
    [
      stream.stream_id,
      sensor?.runtime ?? node.runtime,
      stream.state,
      stream.frames_per_s.toFixed(1),
      String(stream.frames),
      String(stream.tracks),
      String(stream.tracks_live),
    ],
  ];
}

function totalRow(view: DemoView): readonly string[] {
  const { framesPerS, frames, tracks, tracksLive } = totals(view);
  return ["all", "", "", framesPerS.toFixed(1), String(frames), String(tracks), String(tracksLive)];
}

function notes({ nodes, problem }: DemoView): readonly string[] {
  const ended = nodes.flatMap(({ node, end }) =>
    end === undefined ? [] : [`The agent of ${node.name} has ended: ${end}.`],
  );
  return problem === undefined ? ended : [...ended, `The coordinator does not respond: ${problem}`];
}

function seconds(ms: number): string {
  return `${Math.floor(ms / 1000)} s`;
}
