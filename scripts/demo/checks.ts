/** Whether the demo shows what it is there to show. Pure. */
import type { DemoView, NodeStatus } from "./view.ts";

/** Sensors send 2 a second; a busy machine may be somewhat behind. */
const FRAMES_PER_S_MIN = 1.5;

/** One line for each thing that is not as it should be, and the nodes it is about; empty when all is well. */
export interface Missing {
  readonly node: string;
  readonly what: string;
}

/** Every node that runs here must be LIVE, its frames must flow, and tracks must have been confirmed. */
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
  if (stream === undefined) return [...problems, `no frame of its ${node.runtime} sensor has come`];
  if (stream.frames_per_s < FRAMES_PER_S_MIN)
    problems.push(`${stream.frames_per_s.toFixed(1)} frames/s come instead of 2`);
  if (stream.tracks === 0)
    problems.push(`no track is confirmed (${stream.frames} frames, tracker ${stream.state})`);
  return problems;
}
