import { describe, expect, test } from "bun:test";
import { heartbeatRequestSchema, registerRequestSchema } from "./agents.ts";
import { nodeListSchema } from "./nodes.ts";

const register = (change: object = {}): object => ({
  node_id: "radar3",
  instance_id: "i-1",
  version: "0.1.0",
  ...change,
});

const accepts = (change: object): boolean =>
  registerRequestSchema.safeParse(register(change)).success;

const named = (n: number, of: (i: number) => unknown): unknown[] =>
  Array.from({ length: n }, (_, i) => of(i));

describe("a registration", () => {
  test("requires little, and has defaults for the rest", () => {
    expect(registerRequestSchema.parse(register())).toEqual({
      node_id: "radar3",
      instance_id: "i-1",
      version: "0.1.0",
      class: "persistent",
      labels: {},
      runtimes: [],
      sensors: [],
      capabilities: [],
      platform: {},
    } as never);
  });

  test("may contain keys of a newer agent, which are ignored", () => {
    expect(registerRequestSchema.parse(register({ mood: "good" }))).not.toHaveProperty("mood");
  });

  const runtime = (i: number): object => ({ name: `r${i}`, version: null, path: null });
  const sensor = (i: number): object => ({ name: `s${i}`, runtime: "python", mode: "poll" });
  const labels = (n: number): object => Object.fromEntries(named(n, (i) => [`k${i}`, "v"]) as []);

  test.each([
    ["version", { version: "x".repeat(256) }, { version: "x".repeat(257) }],
    ["labels", { labels: labels(64) }, { labels: labels(65) }],
    ["facts about its platform", { platform: labels(64) }, { platform: labels(65) }],
    ["a label's key", { labels: { ["k".repeat(64)]: "" } }, { labels: { ["k".repeat(65)]: "" } }],
    ["runtimes", { runtimes: named(64, runtime) }, { runtimes: named(65, runtime) }],
    ["sensors", { sensors: named(256, sensor) }, { sensors: named(257, sensor) }],
    [
      "a sensor's problem",
      { sensors: [{ ...sensor(1), problem: "x".repeat(512) }] },
      { sensors: [{ ...sensor(1), problem: "x".repeat(513) }] },
    ],
    ["capabilities", { capabilities: named(64, String) }, { capabilities: named(65, String) }],
  ])("is bounded in %s", (_what, most, more) => {
    expect(accepts(most)).toBe(true);
    expect(accepts(more)).toBe(false);
  });

  test.each([
    ["an id that would reach into a topic", { node_id: "a.b" }],
    ["no version", { version: undefined }],
    ["an unknown class", { class: "eternal" }],
    ["an unknown sensor mode", { sensors: [{ name: "s", runtime: "python", mode: "push" }] }],
    ["a URL that runs code", { agent_url: "javascript:alert(1)" }],
    ["a URL of a file", { agent_url: "file:///etc/passwd" }],
    ["no URL", { agent_url: "hill:8080" }],
    ["a URL with a line feed", { agent_url: "http://h/\n" }],
    ["a URL with a space", { agent_url: "http://h/ x" }],
    ["a URL without a host", { agent_url: "http:///x" }],
    ["a URL with a backslash", { agent_url: "http://h\\@evil/" }],
    ["a URL with credentials", { agent_url: "http://user:secret@h/" }],
    ["a URL with a query", { agent_url: "http://h/?q" }],
    ["a URL with a fragment", { agent_url: "http://h/#f" }],
    ["a URL without slashes", { agent_url: "http:h" }],
    ["an address in hexadecimal", { agent_url: "http://0x7f.1/" }],
    ["an address as one number", { agent_url: "http://2130706433/" }],
    ["an address with a full-width digit", { agent_url: "http://1\uff12.0.0.1/" }],
    ["labels that are no text", { labels: { a: 1 } }],
  ])("is refused with %s", (_what, change) => {
    expect(accepts(change)).toBe(false);
  });

  test("accepts an http or https URL", () => {
    expect(accepts({ agent_url: "http://10.0.0.7:8080/x" })).toBe(true);
    expect(accepts({ agent_url: "https://[fe80::1]/" })).toBe(true);
    for (const url of [
      "http://HILL:8080",
      "http://my_node.lan",
      "http://h/a/b-c",
      "http://h:80/%20",
    ])
      expect(accepts({ agent_url: url })).toBe(true);
  });
});

test("a heartbeat's counters are bounded non-negative integers for each sensor", () => {
  const heartbeat = (counters: object): boolean =>
    heartbeatRequestSchema.safeParse({ instance_id: "i", epoch: 1, counters }).success;
  const balance = { produced: 3, acked: 1, spooled: 1, dropped: { full: 1 } };
  expect(heartbeat({ radar: balance })).toBe(true);
  expect(heartbeat({ radar: { ...balance, acked: -1 } })).toBe(false);
  expect(heartbeat({ radar: { ...balance, dropped: { full: 0.5 } } })).toBe(false);
  expect(heartbeat({ "a.b": balance })).toBe(false);
  expect(heartbeatRequestSchema.parse({ instance_id: "i", epoch: 1 }).counters).toEqual({});
  const many = (n: number, value: unknown): object =>
    Object.fromEntries(named(n, (i) => [`k${i}`, value]) as []);
  expect([heartbeat(many(256, balance)), heartbeat(many(257, balance))]).toEqual([true, false]);
  const reasons = (n: number): object => ({ radar: { ...balance, dropped: many(n, 0) } });
  expect([heartbeat(reasons(64)), heartbeat(reasons(65))]).toEqual([true, false]);
});

test("an empty list of nodes has no cursor", () => {
  expect(nodeListSchema.parse({ agents: [] })).toEqual({ agents: [] });
});
