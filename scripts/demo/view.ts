/** The state of the demo at one moment, from which the screen and the checks are derived. */
import type { NodeView, TrackerView } from "../../packages/protocol/src/index.ts";
import type { PreparedNode } from "./nodes.ts";

/** A node of the demo with what the coordinator reports about it. Each node has one stream. */
export interface NodeStatus {
  readonly node: PreparedNode;
  /** How the agent's process ended; undefined while it runs. */
  readonly end: string | undefined;
  readonly registered: NodeView | undefined;
  readonly stream: TrackerView | undefined;
}

/** All nodes, and where the coordinator and the files are. */
export interface DemoView {
  readonly nowMs: number;
  readonly elapsedMs: number;
  readonly nodes: readonly NodeStatus[];
  /** Why the last request to the coordinator failed. What it reported before is then still shown. */
  readonly problem: string | undefined;
  readonly httpUrl: string;
  readonly framesPort: number;
  readonly operatorTokenFile: string;
  readonly dir: string;
}

/** Returns sums over all streams. */
export function totals({ nodes }: DemoView): {
  readonly live: number;
  readonly framesPerS: number;
  readonly frames: number;
  readonly events: number;
  readonly tracks: number;
  readonly tracksLive: number;
} {
  const streams = nodes.flatMap(({ stream }) => stream ?? []);
  const sum = (pick: (stream: TrackerView) => number): number =>
    streams.reduce((total, stream) => total + pick(stream), 0);
  return {
    live: nodes.filter(({ registered }) => registered?.state === "LIVE").length,
    framesPerS: sum((s) => s.frames_per_s),
    frames: sum((s) => s.frames),
    events: sum((s) => s.events),
    tracks: sum((s) => s.tracks),
    tracksLive: sum((s) => s.tracks_live),
  };
}
