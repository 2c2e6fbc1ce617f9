import { describe, expect, test } from "bun:test";
import { superseded } from "../db/schema.ts";
import { instanceId, nodeId, refuseWrites, registration } from "../testing.ts";
import { HILL, RADAR, Rig } from "./testing.ts";

const HOUR_MS = 3_600_000;
const RETENTION = { persistent: 7 * HOUR_MS, ephemeral: 600_000 };

const quick = (): Rig => new Rig({ retentionMs: RETENTION });

describe("a node that stays away (R4)", () => {
  test("is forgotten after the time of its class, counted since it was last heard", () => {
    const rig = quick();
    rig.registry.register(
      registration({ node_id: "pod", instance_id: "i1", class: "ephemeral" }),
      "enrolment",
    );
    rig.register();
    rig.clock.advance(300_000);
    rig.registry.heard(nodeId("pod"));
    rig.clock.advance(599_000);
    expect(rig.registry.list().map((n) => n.id)).toEqual([nodeId("pod"), RADAR]);
    rig.clock.advance(2000);
    expect(rig.registry.list().map((n) => n.id)).toEqual([RADAR]);
    expect(rig.row(nodeId("pod"))).toBeUndefined();
    expect(rig.told).toContain("pod removed");
    expect(rig.removed).toEqual([nodeId("pod")]);
    expect(rig.history(nodeId("pod")).slice(-3)).toEqual(["STALE", "DEAD", "removed"]);
  });

  test("counts only our own uptime: a month of being down ages nobody, hours of several runs add up", () => {
    const rig = quick();
    rig.register();
    for (let run = 0; run < 6; run++) {
      rig.clock.advance(HOUR_MS);
      rig.restart();
      rig.clock.jumpWall(720 * HOUR_MS);
    }
    expect(rig.registry.get(RADAR)).toBeDefined();
    rig.clock.advance(HOUR_MS - 60_000);
    expect(rig.registry.get(RADAR)).toBeDefined();
    rig.clock.advance(120_000);
    expect(rig.registry.get(RADAR)).toBeUndefined();
  });

  test("gets its chance to be heard after a restart, however long it has been silent", () => {
    const rig = quick();
    rig.registry.register(
      registration({ node_id: "pod", instance_id: "i1", class: "ephemeral" }),
      "enrolment",
    );
    rig.clock.advance(599_000);
    rig.restart();
    rig.clock.advance(60_000);
    expect(rig.state(nodeId("pod"))).toBe("UNKNOWN");
    rig.clock.advance(331_000);
    expect(rig.registry.get(nodeId("pod"))).toBeUndefined();
  });

  test("is kept by `never`, and while it is live by any time at all", () => {
    const never = Number.POSITIVE_INFINITY;
    const rig = new Rig({ retentionMs: { persistent: never, ephemeral: 1 } });
    rig.register();
    rig.registry.register(
      registration({ node_id: "pod", instance_id: "i1", class: "ephemeral" }),
      "enrolment",
    );
    rig.clock.advance(300_000);
    expect(rig.registry.list()).toHaveLength(2);
    rig.clock.advance(HOUR_MS);
    expect(rig.registry.list().map((n) => n.id)).toEqual([RADAR]);
  });

  test("goes after its goodbye too, and a plain one as well", () => {
    const rig = quick();
    rig.register();
    rig.registry.deregister(RADAR);
    rig.registry.heardPlain(HILL);
    rig.clock.advance(RETENTION.persistent + 2000);
    expect(rig.registry.list()).toEqual([]);
  });

  test("goes with a bounded number of others at a time", () => {
    const rig = new Rig({ retentionMs: { persistent: 1000, ephemeral: 1000 } });
    rig.db.transaction(() => {
      for (let n = 0; n < 250; n++) rig.registry.heardPlain(nodeId(`n${n}`));
    });
    rig.clock.advance(391_000);
    expect(rig.registry.list()).toHaveLength(150);
    rig.clock.advance(1000);
    expect(rig.registry.list()).toHaveLength(50);
    rig.clock.advance(1000);
    expect(rig.registry.list()).toHaveLength(0);
  });

  test("stays while the disk takes no writes, and goes when it does again", () => {
    const rig = new Rig({ retentionMs: { persistent: 1000, ephemeral: 1000 } });
    rig.register();
    rig.clock.advance(389_000);
    refuseWrites(rig.db, true);
    rig.clock.advance(10_000);
    expect(rig.registry.get(RADAR)).toBeDefined();
    refuseWrites(rig.db, false);
    rig.clock.advance(2000);
    expect(rig.registry.get(RADAR)).toBeUndefined();
    expect(rig.told.filter((t) => t.endsWith("removed"))).toEqual(["radar3 removed"]);
  });
});

describe("a node that was removed (R4, R9)", () => {
  test("may come back, with an epoch above all it ever had, across a restart too", () => {
    const rig = quick();
    for (const instance of ["i1", "i2", "i3"]) rig.register(instance);
    expect(rig.registry.remove(RADAR)).toBe(true);
    expect(rig.removed).toEqual([RADAR]);
    expect(rig.registry.get(RADAR)).toBeUndefined();
    expect(rig.registry.standing(RADAR, instanceId("i3"), 3)).toBe("unknown");
    rig.restart();
    expect(rig.register("i3")).toEqual({ at: "registered", epoch: 4, created: true });
    expect(rig.history().slice(-4)).toEqual(["registered", "removed", "registered", "LIVE"]);
  });

  test("is not taken over by an instance that had been replaced before", () => {
    const rig = quick();
    rig.register("i1");
    rig.register("i2");
    rig.registry.remove(RADAR);
    expect(rig.register("i1")).toEqual({ at: "superseded" });
    expect(rig.register("i2").at).toBe("registered");
  });

  test("does not get its old epoch again by coming as a plain node in between", () => {
    const rig = quick();
    rig.register("i1");
    rig.register("i2");
    rig.registry.remove(RADAR);
    rig.registry.heardPlain(RADAR);
    expect(rig.register("i3")).toEqual({ at: "registered", epoch: 3, created: false });
  });

  test("was not there: said so, nothing told", () => {
    const rig = quick();
    expect(rig.registry.remove(RADAR)).toBe(false);
    expect(rig.told).toEqual([]);
  });

  test("is still there when that can't be written down", () => {
    const rig = quick();
    rig.register();
    refuseWrites(rig.db, true);
    expect(() => rig.registry.remove(RADAR)).toThrow(/readonly/);
    expect(() => rig.registry.block(RADAR)).toThrow(/readonly/);
    expect(rig.state()).toBe("LIVE");
    expect(rig.registry.blocked()).toEqual([]);
    expect(rig.removed).toEqual([]);
  });

  test("leaves room for another plain one", () => {
    const rig = new Rig({ plainNodesMax: 1 });
    rig.registry.heardPlain(HILL);
    rig.registry.remove(HILL);
    expect(rig.registry.heardPlain(RADAR)).toBe("heard");
  });

  test("leaves its replaced instances barred, of all such nodes the last ten thousand", () => {
    const rig = quick();
    rig.db.transaction((tx) => {
      for (let n = 0; n < 10_002; n++)
        tx.insert(superseded)
          .values({ nodeId: `gone${n}`, instanceId: "i", epoch: 1 })
          .run();
    });
    rig.register("i1");
    rig.register("i2");
    rig.registry.remove(RADAR);
    rig.clock.advance(10_000);
    expect(rig.db.select().from(superseded).all()).toHaveLength(10_000);
    expect(rig.register("i1")).toEqual({ at: "superseded" });
  });
});

describe("a blocked node (R4)", () => {
  test("is removed and barred, whoever comes for it, until it is unblocked", () => {
    const rig = quick();
    rig.register();
    expect(rig.registry.block(RADAR)).toBe(true);
    expect(rig.removed).toEqual([RADAR]);
    expect(rig.register()).toEqual({ at: "blocked" });
    expect(rig.register("i2")).toEqual({ at: "blocked" });
    expect(rig.registry.standing(RADAR, instanceId("i1"), 1)).toBe("blocked");
    expect(rig.registry.heardPlain(RADAR)).toBe("blocked");
    rig.restart();
    expect(rig.register()).toEqual({ at: "blocked" });
    expect(rig.registry.blocked().map((b) => b.nodeId)).toEqual([RADAR]);
    expect(rig.registry.unblock(RADAR)).toBe(true);
    expect(rig.register()).toEqual({ at: "registered", epoch: 2, created: true });
    expect(rig.told).toEqual([
      "radar3 registered",
      "radar3 removed",
      "radar3 blocked",
      "radar3 unblocked",
      "radar3 registered",
    ]);
  });

  test("need not have been known; blocking twice changes nothing, neither does unblocking one that is not", () => {
    const rig = quick();
    expect(rig.registry.block(HILL)).toBe(true);
    expect(rig.registry.block(HILL)).toBe(true);
    expect(rig.told).toEqual(["hill blocked"]);
    expect(rig.registry.unblock(RADAR)).toBe(false);
  });

  test("is one of ten thousand at most", () => {
    const rig = quick();
    rig.db.transaction(() => {
      for (let n = 0; n < 10_000; n++) rig.registry.block(nodeId(`n${n}`));
    });
    expect(rig.registry.block(RADAR)).toBe(false);
    expect(rig.registry.block(nodeId("n1"))).toBe(true);
    rig.registry.unblock(nodeId("n1"));
    expect(rig.registry.block(RADAR)).toBe(true);
  });
});
