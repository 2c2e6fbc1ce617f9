import { describe, expect, test } from "bun:test";
import { nodeEvents } from "../db/schema.ts";
import { refuseWrites } from "../testing.ts";
import { HILL, RADAR, Rig } from "./testing.ts";

describe("the history of a node (R5, R9)", () => {
  test("lists its events, newest first, with their times and data", async () => {
    const rig = new Rig();
    await rig.register("i1", RADAR, "enrolment");
    const bornMs = rig.clock.nowMs();
    rig.clock.advance(90_000);
    await rig.register("i2", RADAR, "enrolment");
    await rig.registry.deregister(RADAR);
    const nowMs = rig.clock.nowMs();
    expect(rig.registry.history(RADAR, 100)).toEqual([
      { at: nowMs, event: "state", data: { state: "SHUTDOWN", previous_state: "LIVE" } },
      { at: nowMs, event: "state", data: { state: "LIVE", previous_state: "STALE" } },
      { at: nowMs, event: "reenrolled", data: { instance_id: "i2", epoch: 2 } },
      {
        at: nowMs,
        event: "registered",
        data: { kind: "agent", version: "1.0.0", instance_id: "i2", epoch: 2 },
      },
      { at: nowMs, event: "superseded", data: { instance_id: "i1", epoch: 1 } },
      { at: nowMs, event: "state", data: { state: "STALE", previous_state: "LIVE" } },
      { at: bornMs, event: "state", data: { state: "LIVE", previous_state: "UNKNOWN" } },
      {
        at: bornMs,
        event: "registered",
        data: { kind: "agent", version: "1.0.0", instance_id: "i1", epoch: 1 },
      },
    ]);
    expect(rig.registry.history(RADAR, 1)).toHaveLength(1);
    expect(rig.registry.history(HILL, 1)).toEqual([]);
  });

  test("does not grow when an instance registers again to renew its token", async () => {
    const rig = new Rig();
    await rig.register("i1", RADAR, "enrolment");
    for (let n = 0; n < 10; n++) await rig.register("i1", RADAR, "enrolment");
    expect(rig.history()).toEqual(["registered", "LIVE"]);
  });

  test("reports no re-enrolment of an agent with credentials, or of a former plain node", async () => {
    const rig = new Rig();
    rig.registry.heardPlain(HILL);
    await rig.register("i1", HILL, "enrolment");
    await rig.register("i2", HILL, "refresh");
    expect(rig.history(HILL)).toEqual([
      "registered",
      "LIVE",
      "registered",
      "superseded",
      "registered",
    ]);
  });

  test("holds the newest hundred events of each node", async () => {
    const rig = new Rig();
    await rig.register("i0", HILL);
    for (let n = 1; n <= 200; n++) await rig.register(`i${n}`);
    expect(rig.history()).toHaveLength(100);
    expect(rig.registry.history(RADAR, 1)[0]?.data["instance_id"]).toBe("i200");
    expect(rig.history(HILL)).toEqual(["registered", "LIVE"]);
  });

  test("is bounded in total: the oldest events go first, whichever node they belong to", async () => {
    const rig = new Rig();
    await rig.register("i1", HILL);
    rig.db
      .insert(nodeEvents)
      .values({ id: 200_000, nodeId: "x", at: 1, event: "removed", data: {} })
      .run();
    await rig.register("i1");
    rig.clock.advance(10_000);
    expect(rig.history(HILL)).toEqual([]);
    expect(rig.history()).toEqual(["registered", "LIVE"]);
  });

  test("is written in the same transaction as the change it reports", async () => {
    const rig = new Rig();
    rig.db.$client.run(
      "CREATE TRIGGER no_events BEFORE INSERT ON node_events BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    expect(await rig.register().catch(String)).toContain("no");
    expect([rig.row(), rig.registry.get(RADAR), rig.events]).toEqual([undefined, undefined, []]);
    rig.db.$client.run("DROP TRIGGER no_events");
    await rig.register();
    rig.db.$client.run(
      "CREATE TRIGGER no_events BEFORE INSERT ON node_events BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    rig.clock.advance(100_000);
    expect(rig.row()?.publishedState).toBe("LIVE");
    expect(await rig.registry.remove(RADAR).catch(String)).toContain("no");
    expect(rig.row()).toBeDefined();
    refuseWrites(rig.db, false);
  });
});
