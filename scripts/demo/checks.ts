/** Checks that the demo works: every node LIVE, frames flowing, tracks confirmed. Used by `--once`. Pure. */
import type { DemoView, NodeStatus } from "./view.ts";

/** Sensors send 2 frames per second; a busy machine may fall slightly behind. */
const FRAMES_PER_S_MIN = 1.5;

/** Something that a node is missing. `what` completes a sentence that begins with the node. */
export interface Missing {
  readonly node: string;
  readonly what: string;
}

/** Returns what is missing; empty when all is well. Ignores nodes that this machine cannot run. */
export function missingParts(view: DemoView): readonly Missing[] {
  return view.nodes.flatMap((status) =>
    problemsOf(status).map((what) => ({ node: status.node.name, what })),
  );
}

function problemsOf({ node, end, registered, stream }: NodeStatus): readonly string[] {
  if (node.at === "skipped") return [];
  if (end !== undefined) return [`its agent has ended: ${end}`];
  if (registered === undefined) return ["has not registered"];
  const problems: string[] = [];
  if (registered.state !== "LIVE") problems.push(`is ${registered.state}, not LIVE`);
  if (stream === undefined)
    return [...problems, `no frame from its ${node.runtime} sensor has arrived`];
  if (stream.frames_per_s < FRAMES_PER_S_MIN)
    problems.push(`sends ${stream.frames_per_s.toFixed(1)} frames/s instead of 2`);
  if (stream.tracks === 0)
    problems.push(`has no confirmed track (${stream.frames} frames, tracker ${stream.state})`);
  return problems;
}
