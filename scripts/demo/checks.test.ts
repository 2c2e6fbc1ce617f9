import { describe, expect, test } from "bun:test";
import { missingParts } from "./checks.ts";
import { DEMO_NODES } from "./nodes.ts";
import { registered, sampleView, stream } from "./testing.ts";
import type { NodeStatus } from "./view.ts";

function missing(change: Partial<NodeStatus>): readonly string[] {
  const view = sampleView((name) => (name === "radar3" ? change : {}));
  return missingParts(view).map(({ node, what }) => `${node}: ${what}`);
}

describe("the check", () => {
  test("finds nothing missing when every node is LIVE, sends frames and has tracks", () => {
    expect(missingParts(sampleView())).toEqual([]);
  });

  const cases: readonly [string, Partial<NodeStatus>][] = [
    ["radar3: has not registered", { registered: undefined, stream: undefined }],
    ["radar3: its agent has ended: exit code 78", { end: "exit code 78" }],
    ["radar3: is STALE, not LIVE", { registered: registered("radar3", { state: "STALE" }) }],
    ["radar3: no frame from its shell sensor has arrived", { stream: undefined }],
    [
      "radar3: sends 1.4 frames/s instead of 2",
      { stream: stream("radar3", { frames_per_s: 1.4 }) },
    ],
    [
      "radar3: has no confirmed track (40 frames, tracker BACKOFF)",
      { stream: stream("radar3", { tracks: 0, state: "BACKOFF" }) },
    ],
  ];
  test.each(cases)("reports exactly: %s", (problem, change) => {
    expect(missing(change)).toEqual([problem]);
  });

  test("reports everything a node is missing", () => {
    const change = {
      registered: registered("radar3", { state: "DEAD" }),
      stream: stream("radar3", { frames_per_s: 0, tracks: 0 }),
    };
    expect(missing(change)).toHaveLength(3);
  });

  test("tolerates a sensor that is slightly slow", () => {
    expect(missing({ stream: stream("radar3", { frames_per_s: 1.6 }) })).toEqual([]);
  });

  test("requires nothing of a node that this machine cannot run", () => {
    const node = { ...DEMO_NODES[2]!, at: "skipped", reason: "no sh" } as const;
    expect(missing({ node, registered: undefined, stream: undefined })).toEqual([]);
  });
});
