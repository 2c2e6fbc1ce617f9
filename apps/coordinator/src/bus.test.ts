import { expect, test } from "bun:test";
import { Bus, SUBSCRIBERS_MAX } from "./bus.ts";

function topicsHeard(pattern: string, topics: readonly string[]): string[] {
  const bus = new Bus();
  const heard: string[] = [];
  bus.subscribe(pattern, ({ topic }) => heard.push(topic));
  for (const topic of topics) bus.publish({ topic, atMs: 0, data: {} });
  return heard;
}

const TOPICS = ["node.a.state", "node.b.state", "node.a", "track.a.s", "tracker.a.s.state"];

test.each([
  ["node.a.state", ["node.a.state"]],
  ["node.*.state", ["node.a.state", "node.b.state"]],
  ["node.>", ["node.a.state", "node.b.state", "node.a"]],
  [">", TOPICS],
  ["*.a", ["node.a"]],
  ["node.*", ["node.a"]],
  ["node.>.state", []],
  ["node", []],
  ["node.a.state.>", []],
])("the pattern %p hears %p", (pattern, heard) => {
  expect(topicsHeard(pattern, TOPICS)).toEqual([...heard]);
});

test("a subscription that has ended hears nothing more, and an idle bus says so", () => {
  const bus = new Bus();
  let heard = 0;
  expect(bus.idle).toBe(true);
  const end = bus.subscribe(">", () => heard++);
  expect(bus.idle).toBe(false);
  bus.publish({ topic: "a", atMs: 0, data: {} });
  end?.();
  end?.();
  bus.publish({ topic: "a", atMs: 0, data: {} });
  expect([heard, bus.idle]).toEqual([1, true]);
});

test("subscribers are bounded, and one that leaves makes room", () => {
  const bus = new Bus();
  const ends = Array.from({ length: SUBSCRIBERS_MAX }, () => bus.subscribe("a", () => {}));
  expect(bus.subscribe("a", () => {})).toBeUndefined();
  ends[0]?.();
  expect(bus.subscribe("a", () => {})).toBeDefined();
});
