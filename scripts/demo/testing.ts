/** A healthy state of the demo, which tests change. */
import type { NodeView, TrackerView } from "../../packages/protocol/src/index.ts";
import { DEMO_NODES } from "./nodes.ts";
import type { DemoView, NodeStatus } from "./view.ts";

export const NOW_MS = 1_800_000_000_000;

/** Returns the healthy state; `change` returns the differences for a node. */
export function sampleView(
  change: (name: string) => Partial<NodeStatus> = () => ({}),
  rest: Partial<DemoView> = {},
): DemoView {
  return {
    nowMs: NOW_MS,
    elapsedMs: 20_400,
    nodes: DEMO_NODES.map((node) => ({
      node: { ...node, at: "ready", command: ["sensor"] },
      end: undefined,
      registered: registered(node.name),
      stream: stream(node.name),
      ...change(node.name),
    })),
    problem: undefined,
    httpUrl: "http://127.0.0.1:7700",
    framesPort: 30_050,
    operatorTokenFile: "/tmp/fleet-demo-x/operator-token",
    dir: "/tmp/fleet-demo-x",
    ...rest,
  };
}

/** Returns a node as the API lists it. */
export function registered(name: string, change: Partial<NodeView> = {}): NodeView {
  const view = {
    node_id: name,
    kind: "agent",
    state: "LIVE",
    name: null,
    group: "demo",
    class: "persistent",
    labels: {},
    version: "0.1.0",
    agent_url: null,
    platform: {},
    runtimes: [
      { name: "shell", version: null, path: "/bin/sh" },
      { name: "python", version: "3.12.1", path: "/usr/bin/python3" },
    ],
    sensors: [{ name: "radar", runtime: "python", mode: "stream" }],
    capabilities: [],
    instance_id: "i",
    epoch: 1,
    first_seen: NOW_MS - 20_000,
    last_seen: NOW_MS - 1500,
    counters: {},
    ...change,
  };
  return view as unknown as NodeView;
}

/** Returns a tracker as the API lists it. */
export function stream(node: string, change: Partial<TrackerView> = {}): TrackerView {
  const view = {
    stream_id: `${node}.radar`,
    node_id: node,
    state: "RUNNING",
    source: "auto",
    name: null,
    mode: "tcp",
    url: null,
    port: 31_000,
    run: 1,
    pid: 4711,
    frames: 40,
    frames_waiting: 0,
    frames_dropped: {},
    frames_per_s: 2,
    events: 200,
    tracks: 7,
    tracks_live: 6,
    last_frame_at: NOW_MS,
    ...change,
  };
  return view as unknown as TrackerView;
}
