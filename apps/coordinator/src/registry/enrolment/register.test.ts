import { describe, expect, test } from "bun:test";
import { nodeId, refuseWrites, registration } from "../../testing.ts";
import { REGISTERS_MAX } from "./enrolment.ts";
import type { RegisterOutcome } from "../node.ts";
import { HILL, RADAR, Rig } from "../testing.ts";

function soon(rig: Rig, id: string, instance = "i1"): Promise<RegisterOutcome> {
  const request = registration({ node_id: id, instance_id: instance });
  return rig.registry.register(request, "enrolment");
}

describe("agents that register in one turn (R1)", () => {
  test("share a transaction, and each gets the outcome it would have had alone", async () => {
    const rig = new Rig();
    await rig.register("old", HILL);
    let transactions = 0;
    const begin = rig.db.transaction.bind(rig.db);
    rig.db.transaction = (...args) => {
      transactions++;
      return begin(...args);
    };
    const outcomes = await Promise.all([soon(rig, RADAR), soon(rig, HILL, "new")]);
    expect(outcomes).toEqual([
      { at: "registered", epoch: 1, created: true },
      { at: "registered", epoch: 2, created: false },
    ]);
    expect(transactions).toBe(1);
    expect([rig.row(RADAR)?.epoch, rig.row(HILL)?.instanceId]).toEqual([1, "new"]);
    expect(rig.superseded).toEqual(["hill new"]);
    const events = ["hill registered", "radar3 registered", "hill superseded"];
    expect(rig.events).toEqual([...events, "hill registered", "hill reenrolled"]);
    expect(await soon(rig, HILL, "old")).toEqual({ at: "superseded" });
  });

  test("are not known before they are on disk: if it refuses, none of them is", async () => {
    const rig = new Rig();
    refuseWrites(rig.db, true);
    const tries = [soon(rig, RADAR), soon(rig, HILL)].map((outcome) => outcome.catch(String));
    for (const answer of await Promise.all(tries)) expect(answer).toContain("readonly");
    expect([rig.registry.get(RADAR), rig.registry.get(HILL), rig.events]).toEqual([
      undefined,
      undefined,
      [],
    ]);
    refuseWrites(rig.db, false);
    expect(await soon(rig, RADAR)).toMatchObject({ at: "registered", epoch: 1 });
  });

  test("are `busy` when there are too many, or two of one node", async () => {
    const rig = new Rig({ agentNodesMax: REGISTERS_MAX - 1 });
    const all = Array.from({ length: REGISTERS_MAX + 1 }, (_, i) => soon(rig, `n${i}`));
    const twice = soon(rig, "n0", "i2");
    const outcomes = (await Promise.all(all)).map(({ at }) => at);
    expect(outcomes.filter((at) => at === "registered")).toHaveLength(REGISTERS_MAX - 1);
    expect(outcomes.slice(-2)).toEqual(["too_many_nodes", "busy"]);
    expect(await twice).toEqual({ at: "busy" });
    expect(rig.registry.get(nodeId("n0"))?.row.instanceId).toBe("i1");
  });

  test("don't count twice if they are known: a new node still gets the last place", async () => {
    const rig = new Rig({ agentNodesMax: 2 });
    await rig.register("i1", HILL);
    const outcomes = await Promise.all([soon(rig, HILL), soon(rig, RADAR), soon(rig, "third")]);
    expect(outcomes.map(({ at }) => at)).toEqual(["registered", "registered", "too_many_nodes"]);
  });

  test("are `busy` when their node is removed meanwhile, since their token may be void (H5)", async () => {
    const rig = new Rig();
    await rig.register("i1");
    const request = registration({ node_id: RADAR, instance_id: "i2" });
    const late = rig.registry.register(request, "refresh");
    await rig.registry.remove(RADAR);
    expect(await late).toEqual({ at: "busy" });
    expect(rig.registry.get(RADAR)).toBeUndefined();
  });
});
