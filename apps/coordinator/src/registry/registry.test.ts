import { describe, expect, test } from "bun:test";
import { silentLog } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import type { NodeId, NodeState } from "@fleet/protocol";
import fc from "fast-check";
import { Bus, topicOf } from "../bus.ts";
import { Committer } from "../db/commit.ts";
import { MEMORY, openDb } from "../db/open.ts";
import { superseded } from "../db/schema.ts";
import { instanceId, nodeId, refuseWrites, REGISTRY_OPTIONS, registration } from "../testing.ts";
import { createRegistry } from "./registry.ts";
import { HILL, RADAR, Rig } from "./testing.ts";

describe("a registered node (R1, R6)", () => {
  test("is on disk before register resolves, with everything it reported, and known after a restart", async () => {
    const rig = new Rig();
    const request = registration({
      node_id: RADAR,
      instance_id: "i1",
      name: "Radar 3",
      group: "radar",
      class: "ephemeral",
      labels: { site: "hill" },
      agent_url: "http://10.0.0.3:7701",
      runtimes: [{ name: "python", version: "3.12.1", path: "/usr/bin/python3" }],
      capabilities: ["replay"],
      platform: { arch: "x64" },
    });
    expect(await rig.registry.register(request)).toEqual({
      at: "registered",
      epoch: 1,
      created: true,
    });
    const row = rig.row();
    expect(row).toMatchObject({
      kind: "agent",
      group: "radar",
      labels: { site: "hill" },
      epoch: 1,
    });
    rig.restart();
    expect(rig.registry.get(RADAR)?.row).toEqual(row);
    expect(rig.registry.list().map((n) => n.id)).toEqual([RADAR]);
  });

  test("that registers again replaces what it reported before", async () => {
    const rig = new Rig();
    await rig.register();
    await rig.registry.register(
      registration({ node_id: RADAR, instance_id: "i1", group: "other" }),
    );
    expect(rig.row()).toMatchObject({ group: "other", epoch: 1 });
  });

  test("is not known if the database refuses it, and its epoch is not used up", async () => {
    const rig = new Rig();
    refuseWrites(rig.db, true);
    expect(await rig.register().catch(String)).toContain("readonly");
    expect(rig.registry.get(RADAR)).toBeUndefined();
    expect(rig.registry.isFailing).toBe(true);
    refuseWrites(rig.db, false);
    expect(await rig.register()).toEqual({ at: "registered", epoch: 1, created: true });
    expect(rig.registry.isFailing).toBe(false);
  });
});

describe("liveness (R5)", () => {
  test("goes LIVE → STALE → DEAD → LIVE, each published once", async () => {
    const rig = new Rig();
    await rig.register();
    rig.clock.advance(89_000);
    expect(rig.published).toEqual(["radar3 UNKNOWN→LIVE"]);
    rig.clock.advance(2000);
    expect(rig.state()).toBe("STALE");
    rig.clock.advance(298_000);
    expect(rig.state()).toBe("STALE");
    rig.clock.advance(100_000);
    expect(rig.state()).toBe("DEAD");
    rig.registry.heard(RADAR);
    expect(rig.state()).toBe("LIVE");
    rig.clock.advance(1000);
    expect(rig.published).toEqual([
      "radar3 UNKNOWN→LIVE",
      "radar3 LIVE→STALE",
      "radar3 STALE→DEAD",
      "radar3 DEAD→LIVE",
    ]);
    expect(rig.row()?.publishedState).toBe("LIVE");
  });

  test("is UNKNOWN after a restart until heard; a node that was LIVE before publishes nothing then", async () => {
    const rig = new Rig();
    await rig.register();
    rig.restart();
    rig.clock.advance(89_000);
    expect(rig.state()).toBe("UNKNOWN");
    rig.registry.heard(RADAR);
    rig.clock.advance(10_000);
    expect(rig.state()).toBe("LIVE");
    expect(rig.published).toEqual(["radar3 UNKNOWN→LIVE"]);
  });

  test("waits the full windows of our uptime after a restart, however long the node was silent before", async () => {
    const rig = new Rig();
    await rig.register();
    rig.clock.advance(80_000);
    rig.restart();
    rig.clock.jumpWall(1e9);
    rig.clock.advance(89_999);
    expect(rig.state()).toBe("UNKNOWN");
    rig.clock.advance(1);
    expect(rig.state()).toBe("STALE");
    rig.clock.advance(299_999);
    expect(rig.state()).toBe("STALE");
    rig.clock.advance(1);
    expect(rig.state()).toBe("DEAD");
    rig.clock.advance(1000);
    expect(rig.published).toEqual([
      "radar3 UNKNOWN→LIVE",
      "radar3 LIVE→STALE",
      "radar3 STALE→DEAD",
    ]);
  });

  test("of a node that was DEAD before a restart is not published until the node is heard", async () => {
    const rig = new Rig();
    await rig.register();
    rig.clock.advance(400_000);
    rig.published.length = 0;
    rig.restart();
    rig.clock.advance(1_000_000);
    expect(rig.state()).toBe("DEAD");
    expect(rig.published).toEqual([]);
    rig.registry.heard(RADAR);
    rig.clock.advance(1000);
    expect(rig.published).toEqual(["radar3 DEAD→LIVE"]);
  });

  test("ignores jumps of the wall clock", async () => {
    const rig = new Rig();
    await rig.register();
    for (const jumpMs of [1e10, -2e10]) {
      rig.clock.jumpWall(jumpMs);
      rig.clock.advance(5000);
      expect(rig.state()).toBe("LIVE");
    }
    expect(rig.published).toEqual(["radar3 UNKNOWN→LIVE"]);
  });

  test("published changes form a chain without repeats, whatever happens and however often we restart", async () => {
    const action = fc.oneof(
      fc.nat(500_000).map((ms) => (rig: Rig) => rig.clock.advance(ms)),
      fc.constant((rig: Rig) => rig.registry.heard(RADAR)),
      fc.constantFrom("i1", "i2", "i3").map((i) => (rig: Rig) => rig.register(i)),
      fc.constant((rig: Rig) => rig.registry.deregister(RADAR)),
      fc.constant((rig: Rig) => rig.restart()),
      fc.integer({ min: -1e9, max: 1e9 }).map((ms) => (rig: Rig) => rig.clock.jumpWall(ms)),
      fc.boolean().map((on) => (rig: Rig) => refuseWrites(rig.db, on)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 25 }), async (actions) => {
        const rig = new Rig();
        for (const act of actions) {
          try {
            await act(rig);
          } catch (error) {
            expect(String(error)).toContain("readonly");
          }
        }
        let last = "UNKNOWN";
        for (const change of rig.published) {
          const [previous, state] = change.split(" ")[1]!.split("→");
          expect(previous).toBe(last);
          expect(state).not.toBe(previous!);
          last = state!;
        }
        if (rig.row() !== undefined) expect(rig.row()?.publishedState).toBe(last as NodeState);
      }),
      { numRuns: 60 },
    );
  });

  test("reaches the disk in batches", async () => {
    const rig = new Rig();
    await rig.register();
    const before = rig.row()!.lastSeen;
    rig.clock.advance(5000);
    rig.registry.heard(RADAR);
    expect(rig.row()?.lastSeen).toBe(before);
    rig.clock.advance(5000);
    expect(rig.row()?.lastSeen).toBe(before + 5000);
    rig.clock.advance(1000);
    rig.registry.heard(RADAR);
    void rig.registry.stop();
    expect(rig.row()?.lastSeen).toBe(before + 11_000);
    expect(rig.clock.timers).toBe(0);
  });
});

describe("instances (R9)", () => {
  test("the same one keeps its epoch, a new one gets the next, and the old one is superseded and can't return", async () => {
    const rig = new Rig();
    await rig.register("i1");
    expect(await rig.register("i1")).toEqual({ at: "registered", epoch: 1, created: false });
    expect(rig.superseded).toEqual([]);
    expect(await rig.register("i2")).toEqual({ at: "registered", epoch: 2, created: false });
    expect(rig.superseded).toEqual(["radar3 i2"]);
    expect(await rig.register("i1")).toEqual({ at: "superseded" });
    rig.restart();
    expect(await rig.register("i1")).toEqual({ at: "superseded" });
    expect(await rig.register("i2")).toEqual({ at: "registered", epoch: 2, created: false });
  });

  test("only the current one may speak for its node", async () => {
    const rig = new Rig();
    await rig.register("i1");
    await rig.register("i2");
    const { registry } = rig;
    expect(registry.standing(RADAR, instanceId("i2"), 2)).toBe("current");
    expect(registry.standing(RADAR, instanceId("i1"), 1)).toBe("superseded");
    expect(registry.standing(RADAR, instanceId("i1"), 2)).toBe("superseded");
    expect(registry.standing(RADAR, instanceId("i9"), 1)).toBe("superseded");
    expect(registry.standing(RADAR, instanceId("i9"), 9)).toBe("unknown");
    expect(registry.standing(HILL, instanceId("i2"), 2)).toBe("unknown");
  });

  test("the sixteen replaced last are remembered, for each node", async () => {
    const rig = new Rig();
    await rig.register("other", HILL);
    await rig.register("other2", HILL);
    for (let n = 1; n <= 18; n++) await rig.register(`i${n}`);
    expect(await rig.register("i2")).toEqual({ at: "superseded" });
    expect(await rig.register("other", HILL)).toEqual({ at: "superseded" });
    const rows = rig.db.select().from(superseded).all();
    expect(rows.filter((r) => r.nodeId === RADAR).map((r) => r.instanceId)).not.toContain("i1");
    expect(rows).toHaveLength(17);
    expect(await rig.register("i1")).toEqual({ at: "registered", epoch: 19, created: false });
  });

  test("a new one starts with its own counters", async () => {
    const rig = new Rig();
    await rig.register("i1");
    const counters = { radar: { produced: 2, acked: 1, spooled: 1, dropped: {} } };
    rig.registry.heard(RADAR, counters);
    await rig.register("i1");
    expect(rig.registry.get(RADAR)?.counters).toEqual(counters);
    await rig.register("i2");
    expect(rig.registry.get(RADAR)?.counters).toEqual({});
  });
});

describe("a goodbye (R5)", () => {
  test("makes the node SHUTDOWN at once and on disk; late frames don't revive it, a register does", async () => {
    const rig = new Rig();
    await rig.register();
    await rig.registry.deregister(RADAR);
    expect(rig.state()).toBe("SHUTDOWN");
    rig.registry.heard(RADAR);
    rig.clock.advance(500_000);
    rig.registry.heard(RADAR);
    rig.restart();
    rig.clock.advance(500_000);
    expect(rig.state()).toBe("SHUTDOWN");
    expect(rig.published).toEqual(["radar3 UNKNOWN→LIVE", "radar3 LIVE→SHUTDOWN"]);
    await rig.register("i1");
    expect(rig.state()).toBe("LIVE");
    expect(rig.published.at(-1)).toBe("radar3 SHUTDOWN→LIVE");
  });

  test("that can't be written has no effect", async () => {
    const rig = new Rig();
    await rig.register();
    refuseWrites(rig.db, true);
    expect(await rig.registry.deregister(RADAR).catch(String)).toContain("readonly");
    expect(rig.state()).toBe("LIVE");
    expect(rig.published).toHaveLength(1);
  });
});

describe("plain nodes (R10)", () => {
  test("are nodes too: they get a row with their first line, and their traffic keeps them LIVE", () => {
    const rig = new Rig();
    expect(rig.registry.heardPlain(HILL)).toBe("heard");
    expect(rig.row(HILL)).toMatchObject({ kind: "plain", epoch: 0, publishedState: "LIVE" });
    rig.clock.advance(95_000);
    expect(rig.state(HILL)).toBe("STALE");
    rig.registry.heardPlain(HILL);
    expect(rig.state(HILL)).toBe("LIVE");
    rig.restart();
    expect(rig.state(HILL)).toBe("UNKNOWN");
  });

  test("can't speak for a node that has an agent, even if that is DEAD", async () => {
    const rig = new Rig();
    await rig.register();
    rig.clock.advance(400_000);
    expect(rig.registry.heardPlain(RADAR)).toBe("has_agent");
    expect(rig.state()).toBe("DEAD");
  });

  test("become agents' nodes when an agent registers, and then no push token speaks for them", async () => {
    const rig = new Rig();
    rig.registry.heardPlain(HILL);
    expect(await rig.register("i1", HILL)).toEqual({ at: "registered", epoch: 1, created: false });
    expect(rig.superseded).toEqual([]);
    expect(rig.registry.heardPlain(HILL)).toBe("has_agent");
  });
});

describe("invented plain nodes (R10)", () => {
  test("are refused at the limit, which is logged once a minute; known nodes and agents are unaffected", async () => {
    const named = nodeId("named");
    const rig = new Rig({ plainNodesMax: 2, configured: new Set([named]) });
    const [a, b, c] = [nodeId("a"), nodeId("b"), nodeId("c")];
    const hear = (...ids: readonly NodeId[]): string[] =>
      ids.map((id) => rig.registry.heardPlain(id));
    expect(hear(a, b, c, a)).toEqual(["heard", "heard", "too_many", "heard"]);
    expect(rig.row(c)).toBeUndefined();
    expect(hear(...Array.from({ length: 50 }, (_, n) => nodeId(`x${n}`)))).not.toContain("heard");
    expect(rig.log.count("too many plain nodes, node refused")).toBe(1);
    expect((await rig.register("i1", "agent")).at).toBe("registered");
    expect(hear(named)).toEqual(["heard"]);
    rig.restart();
    expect(hear(c)).toEqual(["too_many"]);
    // A node that has an agent does not count as plain.
    await rig.register("i1", "a");
    await rig.register("i1", "b");
    expect(hear(c, nodeId("d"))).toEqual(["heard", "too_many"]);
  });
});

describe("nodes with an agent", () => {
  test("are refused at the limit, since a holder of an enrolment token can invent them; known ones still register", async () => {
    const rig = new Rig({ agentNodesMax: 2 });
    rig.registry.heardPlain(HILL);
    const outcomes: string[] = [];
    for (const id of ["a", "b", "c"]) outcomes.push((await rig.register("i1", id)).at);
    expect(outcomes).toEqual(["registered", "registered", "too_many_nodes"]);
    expect((await rig.register("i1", HILL)).at).toBe("too_many_nodes");
    expect(rig.registry.heardPlain(HILL)).toBe("heard");
    expect(rig.log.count("too many agent nodes, node refused")).toBe(1);
    expect((await rig.register("i2", "a")).at).toBe("registered");
    rig.restart();
    expect((await rig.register("i1", "c")).at).toBe("too_many_nodes");
    await rig.registry.remove(nodeId("a"));
    expect((await rig.register("i1", HILL)).at).toBe("registered");
    expect((await rig.register("i1", "c")).at).toBe("too_many_nodes");
  });
});

describe("instances that may not speak for their node", () => {
  test("are counted by the reason they were refused for (R9)", async () => {
    const rig = new Rig();
    await rig.register("i1");
    await rig.register("i2");
    await rig.register("i1");
    rig.registry.standing(RADAR, instanceId("i1"), 1);
    rig.registry.standing(RADAR, instanceId("i2"), 2);
    rig.registry.standing(HILL, instanceId("i2"), 2);
    await rig.registry.block(RADAR);
    rig.registry.standing(RADAR, instanceId("i2"), 2);
    await rig.register("i3");
    expect(rig.registry.refused.entries()).toEqual([
      ["superseded", 2],
      ["blocked", 2],
    ]);
  });
});

describe("on a full disk", () => {
  test("known nodes are still heard, new plain ones are refused, and the failure is logged once", async () => {
    const rig = new Rig();
    await rig.register();
    refuseWrites(rig.db, true);
    expect(rig.registry.heardPlain(HILL)).toBe("unavailable");
    expect(rig.registry.get(HILL)).toBeUndefined();
    for (let i = 0; i < 30; i++) {
      rig.clock.advance(10_000);
      rig.registry.heard(RADAR);
    }
    expect(rig.state()).toBe("LIVE");
    expect(rig.log.count("the database refuses writes")).toBe(1);
  });

  test("a transition waits until it can be written, and a state that has passed by then is never published", async () => {
    const rig = new Rig();
    await rig.register();
    refuseWrites(rig.db, true);
    rig.clock.advance(100_000);
    expect(rig.state()).toBe("STALE");
    rig.clock.advance(300_000);
    expect(rig.published).toEqual(["radar3 UNKNOWN→LIVE"]);
    refuseWrites(rig.db, false);
    rig.clock.advance(1000);
    expect(rig.published).toEqual(["radar3 UNKNOWN→LIVE", "radar3 LIVE→DEAD"]);
  });

  test("a disk that works again is noticed even when there is nothing to write", async () => {
    const rig = new Rig();
    refuseWrites(rig.db, true);
    expect(await rig.register().catch(String)).toContain("readonly");
    rig.clock.advance(60_000);
    expect(rig.registry.isFailing).toBe(true);
    refuseWrites(rig.db, false);
    rig.clock.advance(10_000);
    expect(rig.registry.isFailing).toBe(false);
    expect(rig.log.count("the database accepts writes again")).toBe(1);
  });

  test("a database at its page limit refuses registers, and accepts them again later", async () => {
    const rig = new Rig();
    const { page_count: pages } = rig.db.$client.query("PRAGMA page_count").get() as {
      page_count: number;
    };
    rig.db.$client.run(`PRAGMA max_page_count = ${pages}`);
    let registered = 0;
    let error = "";
    while (error === "" && registered < 1000) {
      error = await rig.register("i1", `n${registered}`).then(() => "", String);
      if (error === "") registered++;
    }
    expect(error).toContain("full");
    for (let n = 0; n < registered; n++) rig.registry.heard(nodeId(`n${n}`));
    rig.clock.advance(10_000);
    rig.db.$client.run("PRAGMA max_page_count = 10000");
    expect((await rig.register("i1", "late")).at).toBe("registered");
    expect(rig.registry.list()).toHaveLength(registered + 1);
  });
});

test("ten thousand nodes that fall silent together are one transaction, and each change is published", () => {
  const rig = new Rig();
  rig.db.transaction(() => {
    for (let n = 0; n < 10_000; n++) rig.registry.heardPlain(nodeId(`n${n}`));
  });
  rig.published.length = 0;
  rig.clock.advance(91_000);
  expect(rig.published).toHaveLength(10_000);
  expect(new Set(rig.published.map((p) => p.split(" ")[1]))).toEqual(new Set(["LIVE→STALE"]));
});

test("a subscriber that throws disturbs neither the others nor the registry", async () => {
  const db = openDb(MEMORY).db;
  const bus = new Bus();
  const commits = new Committer(db, silentLog, bus);
  const clock = new FakeClock();
  const registry = createRegistry({ db, commits, clock, log: silentLog }, REGISTRY_OPTIONS);
  const heard: string[] = [];
  bus.subscribe(">", () => {
    throw new Error("a bad subscriber");
  });
  bus.subscribe("node.*.state", (event) => heard.push(topicOf(event)));
  await registry.register(registration({ node_id: RADAR, instance_id: "i1" }));
  expect(heard).toEqual(["node.radar3.state"]);
  expect(bus.failures).toBe(2);
});
