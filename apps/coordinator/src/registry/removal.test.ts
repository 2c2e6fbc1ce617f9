import { describe, expect, test } from "bun:test";
import { superseded } from "../db/schema.ts";
import { instanceId, nodeId, refuseWrites, registration } from "../testing.ts";
import { HILL, RADAR, Rig } from "./testing.ts";

const HOUR_MS = 3_600_000;
const RETENTION = { persistent: 7 * HOUR_MS, ephemeral: 600_000 };

const quick = (): Rig => new Rig({ retentionMs: RETENTION });

describe("a silent node (R4)", () => {
  test("is removed after the retention of its class, counted from when it was last heard", async () => {
    const rig = quick();
    await rig.registry.register(
      registration({ node_id: "pod", instance_id: "i1", class: "ephemeral" }),
      "enrolment",
    );
    await rig.register();
    await rig.advance(300_000);
    rig.registry.heard(nodeId("pod"));
    await rig.advance(599_000);
    expect(rig.registry.list().map((n) => n.id)).toEqual([nodeId("pod"), RADAR]);
    await rig.advance(2000);
    expect(rig.registry.list().map((n) => n.id)).toEqual([RADAR]);
    expect(rig.row(nodeId("pod"))).toBeUndefined();
    expect(rig.events).toContain("pod removed");
    expect(rig.removed).toEqual([nodeId("pod")]);
    expect(rig.history(nodeId("pod")).slice(-3)).toEqual(["STALE", "DEAD", "removed"]);
  });

  test("ages in our uptime only: a month of downtime does not count, hours of several runs add up", async () => {
    const rig = quick();
    await rig.register();
    for (let run = 0; run < 6; run++) {
      await rig.advance(HOUR_MS);
      rig.restart();
      rig.clock.jumpWall(720 * HOUR_MS);
    }
    expect(rig.registry.get(RADAR)).toBeDefined();
    await rig.advance(HOUR_MS - 60_000);
    expect(rig.registry.get(RADAR)).toBeDefined();
    await rig.advance(120_000);
    expect(rig.registry.get(RADAR)).toBeUndefined();
  });

  test("can still be heard after a restart, however long it has been silent", async () => {
    const rig = quick();
    await rig.registry.register(
      registration({ node_id: "pod", instance_id: "i1", class: "ephemeral" }),
      "enrolment",
    );
    await rig.advance(599_000);
    rig.restart();
    await rig.advance(60_000);
    expect(rig.state(nodeId("pod"))).toBe("UNKNOWN");
    await rig.advance(331_000);
    expect(rig.registry.get(nodeId("pod"))).toBeUndefined();
  });

  test("is kept forever by `never`, and by any retention while it is LIVE", async () => {
    const never = Number.POSITIVE_INFINITY;
    const rig = new Rig({ retentionMs: { persistent: never, ephemeral: 1 } });
    await rig.register();
    await rig.registry.register(
      registration({ node_id: "pod", instance_id: "i1", class: "ephemeral" }),
      "enrolment",
    );
    await rig.advance(300_000);
    expect(rig.registry.list()).toHaveLength(2);
    await rig.advance(HOUR_MS);
    expect(rig.registry.list().map((n) => n.id)).toEqual([RADAR]);
  });

  test("is removed after its goodbye too, and so is a plain one", async () => {
    const rig = quick();
    await rig.register();
    await rig.registry.deregister(RADAR);
    rig.registry.heardPlain(HILL);
    await rig.advance(RETENTION.persistent + 2000);
    expect(rig.registry.list()).toEqual([]);
  });

  test("is removed with a bounded number of others at a time", async () => {
    const rig = new Rig({ retentionMs: { persistent: 1000, ephemeral: 1000 } });
    rig.db.transaction(() => {
      for (let n = 0; n < 250; n++) rig.registry.heardPlain(nodeId(`n${n}`));
    });
    await rig.advance(391_000);
    expect(rig.registry.list()).toHaveLength(150);
    await rig.advance(1000);
    expect(rig.registry.list()).toHaveLength(50);
    await rig.advance(1000);
    expect(rig.registry.list()).toHaveLength(0);
  });

  test("stays while the disk refuses writes, and is removed once it accepts them", async () => {
    const rig = new Rig({ retentionMs: { persistent: 1000, ephemeral: 1000 } });
    await rig.register();
    await rig.advance(389_000);
    refuseWrites(rig.db, true);
    await rig.advance(10_000);
    expect(rig.registry.get(RADAR)).toBeDefined();
    refuseWrites(rig.db, false);
    await rig.advance(2000);
    expect(rig.registry.get(RADAR)).toBeUndefined();
    expect(rig.events.filter((t) => t.endsWith("removed"))).toEqual(["radar3 removed"]);
  });
});

describe("a node that was removed (R4, R9)", () => {
  test("may return with an epoch above all its earlier ones, also after a restart", async () => {
    const rig = quick();
    for (const instance of ["i1", "i2", "i3"]) await rig.register(instance);
    expect(await rig.registry.remove(RADAR)).toBe(true);
    expect(rig.removed).toEqual([RADAR]);
    expect(rig.registry.get(RADAR)).toBeUndefined();
    expect(rig.registry.standing(RADAR, instanceId("i3"), 3)).toBe("unknown");
    rig.restart();
    expect(await rig.register("i3")).toEqual({ at: "registered", epoch: 4, created: true });
    expect(rig.history().slice(-4)).toEqual(["registered", "removed", "registered", "LIVE"]);
  });

  test("is not taken over by an instance that was replaced before", async () => {
    const rig = quick();
    await rig.register("i1");
    await rig.register("i2");
    await rig.registry.remove(RADAR);
    expect(await rig.register("i1")).toEqual({ at: "superseded" });
    expect((await rig.register("i2")).at).toBe("registered");
  });

  test("does not get an old epoch again by returning as a plain node first", async () => {
    const rig = quick();
    await rig.register("i1");
    await rig.register("i2");
    await rig.registry.remove(RADAR);
    rig.registry.heardPlain(RADAR);
    expect(await rig.register("i3")).toEqual({ at: "registered", epoch: 3, created: false });
  });

  test("that is unknown: returns false and publishes nothing", async () => {
    const rig = quick();
    expect(await rig.registry.remove(RADAR)).toBe(false);
    expect(rig.events).toEqual([]);
  });

  test("is still known if the removal can't be written", async () => {
    const rig = quick();
    await rig.register();
    refuseWrites(rig.db, true);
    expect(await rig.registry.remove(RADAR).catch(String)).toContain("readonly");
    expect(await rig.registry.block(RADAR).catch(String)).toContain("readonly");
    expect(rig.state()).toBe("LIVE");
    expect(rig.registry.blocked()).toEqual([]);
    expect(rig.removed).toEqual([]);
  });

  test("leaves room for another plain node", async () => {
    const rig = new Rig({ plainNodesMax: 1 });
    rig.registry.heardPlain(HILL);
    await rig.registry.remove(HILL);
    expect(rig.registry.heardPlain(RADAR)).toBe("heard");
  });

  test("leaves its replaced instances barred, the newest ten thousand of all removed nodes", async () => {
    const rig = quick();
    rig.db.transaction((tx) => {
      for (let n = 0; n < 10_002; n++)
        tx.insert(superseded)
          .values({ nodeId: `gone${n}`, instanceId: "i", epoch: 1 })
          .run();
    });
    await rig.register("i1");
    await rig.register("i2");
    await rig.registry.remove(RADAR);
    rig.clock.advance(10_000);
    expect(rig.db.select().from(superseded).all()).toHaveLength(10_000);
    expect(await rig.register("i1")).toEqual({ at: "superseded" });
  });
});

describe("a blocked node (R4)", () => {
  test("is removed and barred for everyone until it is unblocked", async () => {
    const rig = quick();
    await rig.register();
    expect(await rig.registry.block(RADAR)).toBe(true);
    expect(rig.removed).toEqual([RADAR]);
    expect(await rig.register()).toEqual({ at: "blocked" });
    expect(await rig.register("i2")).toEqual({ at: "blocked" });
    expect(rig.registry.standing(RADAR, instanceId("i1"), 1)).toBe("blocked");
    expect(rig.registry.heardPlain(RADAR)).toBe("blocked");
    rig.restart();
    expect(await rig.register()).toEqual({ at: "blocked" });
    expect(rig.registry.blocked().map((b) => b.nodeId)).toEqual([RADAR]);
    expect(await rig.registry.unblock(RADAR)).toBe(true);
    expect(await rig.register()).toEqual({ at: "registered", epoch: 2, created: true });
    expect(rig.events).toEqual([
      "radar3 registered",
      "radar3 removed",
      "radar3 blocked",
      "radar3 unblocked",
      "radar3 registered",
    ]);
  });

  test("need not be known; blocking twice changes nothing, nor does unblocking an id that is not blocked", async () => {
    const rig = quick();
    expect(await rig.registry.block(HILL)).toBe(true);
    expect(await rig.registry.block(HILL)).toBe(true);
    expect(rig.events).toEqual(["hill blocked"]);
    expect(await rig.registry.unblock(RADAR)).toBe(false);
  });

  test("is one of at most ten thousand", async () => {
    const rig = quick();
    await Promise.all(
      Array.from({ length: 10_000 }, (_, n) => rig.registry.block(nodeId(`n${n}`))),
    );
    expect(await rig.registry.block(RADAR)).toBe(false);
    expect(await rig.registry.block(nodeId("n1"))).toBe(true);
    await rig.registry.unblock(nodeId("n1"));
    expect(await rig.registry.block(RADAR)).toBe(true);
  });
});
