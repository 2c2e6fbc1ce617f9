/** What the demo knows at one moment; the screen and the checks are made from it. */
import type { NodeView, TrackerView } from "../../packages/protocol/src/index.ts";
import type { PreparedNode } from "./nodes.ts";

/** A node of the demo and what the coordinator says of it. `sensor` is its only stream. */
export interface NodeStatus {
  readonly node: PreparedNode;
  /** How its agent's process ended, if it has. */
  readonly end: string | undefined;
  readonly registered: NodeView | undefined;
  readonly stream: TrackerView | undefined;
}

/** See the head of this file. */
export interface DemoView {
  readonly nowMs: number;
  readonly elapsedMs: number;
  readonly nodes: readonly NodeStatus[];
  /** Why the coordinator could not be asked; what is shown of it is then older. */
  readonly problem: string | undefined;
  readonly httpUrl: string;
  readonly framesPort: number;
  readonly operatorTokenFile: string;
  readonly dir: string;
}

/** Sums over all streams. */
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
