import { describe, expect, test } from "bun:test";
import { instanceId } from "../../testing.ts";
import { HILL, RADAR, Rig } from "../testing.ts";

const MINUTE_MS = 60_000;

/** Takes over the node by new instances, each from one that is connected. */
async function takeOvers(rig: Rig, ...instances: readonly string[]): Promise<string[]> {
  rig.isConnected = true;
  const outcomes: string[] = [];
  for (const instance of instances) {
    rig.clock.advance(1000);
    outcomes.push((await rig.register(instance)).at);
  }
  rig.isConnected = false;
  return outcomes;
}

describe("two processes that keep taking over a node from each other (A14, R9)", () => {
  test("do so three times; then the current one keeps it, and an event reports that", async () => {
    const rig = new Rig();
    const before = Array.from({ length: 4 }, () => "registered");
    expect(await takeOvers(rig, "a1", "b1", "a2", "b2")).toEqual(before);
    expect(await takeOvers(rig, "a3", "b3")).toEqual(["contested", "contested"]);
    expect(rig.row()?.instanceId).toBe("b2");
    expect(rig.events.filter((event) => event === "radar3 contested")).toHaveLength(1);
    expect(rig.history()).toContain("contested");
    expect(rig.log.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
  });

  test("are also recognised by requests of the replaced one, if none was connected", async () => {
    const rig = new Rig();
    await rig.register("a1");
    for (const [before, next] of [
      ["a1", "b1"],
      ["b1", "a2"],
      ["a2", "b2"],
    ] as const) {
      expect((await rig.register(next)).at).toBe("registered");
      // A heartbeat, and the register that an agent would try after it.
      expect(rig.registry.standing(RADAR, instanceId(before), 1)).toBe("superseded");
      expect((await rig.register(before)).at).toBe("superseded");
    }
    expect((await rig.register("a3")).at).toBe("contested");
    expect((await rig.register("b2")).at).toBe("registered");
  });

  test("stay apart for as long as one is LIVE and the other tries", async () => {
    const rig = new Rig();
    await takeOvers(rig, "a1", "b1", "a2", "b2");
    for (let minute = 0; minute < 60; minute += 4) {
      rig.clock.advance(MINUTE_MS);
      rig.registry.heard(RADAR);
      expect((await rig.register(`a-${minute}`)).at).toBe("contested");
      for (let i = 0; i < 3; i++) {
        rig.clock.advance(MINUTE_MS);
        rig.registry.heard(RADAR);
      }
    }
  });

  test("are no longer contested when the current one says goodbye or falls silent, or after 5 minutes without a try", async () => {
    for (const end of ["goodbye", "silence", "peace"]) {
      const rig = new Rig();
      await takeOvers(rig, "a1", "b1", "a2", "b2");
      if (end === "goodbye") await rig.registry.deregister(RADAR);
      for (let i = 0; i < 6; i++) {
        rig.clock.advance(MINUTE_MS);
        if (end === "peace") rig.registry.heard(RADAR);
      }
      expect([end, (await rig.register("a3")).at]).toEqual([end, "registered"]);
    }
  });

  test("are no longer contested when an operator removes the node", async () => {
    const rig = new Rig();
    await takeOvers(rig, "a1", "b1", "a2", "b2");
    await rig.registry.remove(RADAR);
    await rig.register("a3");
    expect((await rig.register("b3")).at).toBe("registered");
  });
});

describe("a node is not contested (R9) by", () => {
  test("an agent that crashes and restarts, however often", async () => {
    const rig = new Rig();
    for (let i = 0; i < 20; i++) expect((await rig.register(`i${i}`)).at).toBe("registered");
  });

  test("three takeovers that are more than 5 minutes apart", async () => {
    const rig = new Rig();
    for (let i = 0; i < 20; i++) {
      expect(await takeOvers(rig, `i${i}`)).toEqual(["registered"]);
      rig.clock.advance(2.5 * MINUTE_MS);
    }
  });

  test("one replaced instance that keeps asking", async () => {
    const rig = new Rig();
    await takeOvers(rig, "a1", "b1");
    for (let i = 0; i < 20; i++) rig.registry.standing(RADAR, instanceId("a1"), 1);
    expect((await rig.register("b2")).at).toBe("registered");
  });

  test("a contest of another node", async () => {
    const rig = new Rig();
    await takeOvers(rig, "a1", "b1", "a2", "b2");
    await rig.register("i1", HILL);
    expect((await rig.register("i2", HILL)).at).toBe("registered");
  });
});
