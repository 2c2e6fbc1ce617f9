import { expect, test } from "bun:test";
import { Bus, type BusEvent, payloadOf, SUBSCRIBERS_MAX, topicOf } from "./bus.ts";
import { nodeId, streamId } from "./testing.ts";

function topicsHeard(pattern: string, events: readonly BusEvent[]): string[] {
  const bus = new Bus();
  const heard: string[] = [];
  bus.subscribe(pattern, (event) => heard.push(topicOf(event)));
  for (const event of events) bus.publish(event);
  return heard;
}

const about = (id: string) => ({ nodeId: nodeId(id), atMs: 1 });
const LIVE = { state: "LIVE", previous_state: "UNKNOWN" } as const;
const UP = { state: "RUNNING", previous_state: "STARTING" } as const;
const EVENTS: readonly BusEvent[] = [
  { kind: "node.state", ...about("a"), data: LIVE },
  { kind: "node.state", ...about("b"), data: LIVE },
  { kind: "node.blocked", ...about("a"), data: {} },
  { kind: "track", streamId: streamId("a.s"), atMs: 2, data: { track_id: "t", run: 1 } },
  { kind: "tracker.state", streamId: streamId("a.s"), atMs: 3, data: UP },
];
const TOPICS = EVENTS.map(topicOf);

test("an event's topic and payload use the ids and words of the API", () => {
  expect(TOPICS).toEqual([
    "node.a.state",
    "node.b.state",
    "node.a.blocked",
    "track.a.s",
    "tracker.a.s.state",
  ]);
  expect(EVENTS.slice(1).map(payloadOf)).toEqual([
    { node_id: "b", state: "LIVE", previous_state: "UNKNOWN" },
    { node_id: "a" },
    { stream_id: "a.s", track_id: "t", run: 1 },
    { stream_id: "a.s", state: "RUNNING", previous_state: "STARTING" },
  ]);
  expect(JSON.parse(JSON.stringify(EVENTS))).toEqual(EVENTS);
});

test.each([
  ["node.a.state", ["node.a.state"]],
  ["node.*.state", ["node.a.state", "node.b.state"]],
  ["node.>", ["node.a.state", "node.b.state", "node.a.blocked"]],
  [">", TOPICS],
  ["*.a.blocked", ["node.a.blocked"]],
  ["node.*", []],
  ["track.*.s", ["track.a.s"]],
  ["node.>.state", []],
  ["node", []],
  ["node.a.state.>", []],
])("the pattern %p matches %p", (pattern, matched) => {
  expect(topicsHeard(pattern, EVENTS)).toEqual([...matched]);
});

test("an ended subscription receives nothing more, and the bus is idle without subscribers", () => {
  const bus = new Bus();
  let heard = 0;
  expect(bus.isIdle).toBe(true);
  const end = bus.subscribe(">", () => heard++);
  expect(bus.isIdle).toBe(false);
  bus.publish(EVENTS[0]!);
  end?.();
  end?.();
  bus.publish(EVENTS[0]!);
  expect([heard, bus.isIdle]).toEqual([1, true]);
});

test("subscribers are limited, and one that unsubscribes makes room", () => {
  const bus = new Bus();
  const ends = Array.from({ length: SUBSCRIBERS_MAX }, () => bus.subscribe("a", () => {}));
  expect(bus.subscribe("a", () => {})).toBeUndefined();
  ends[0]?.();
  expect(bus.subscribe("a", () => {})).toBeDefined();
});
