import { describe, expect, test } from "bun:test";
import { registration } from "../testing.ts";
import type { Proof } from "./node.ts";
import { RADAR, Rig } from "./testing.ts";

const HOUR_MS = 3_600_000;

/** Registers another instance and returns its epoch. */
async function register(rig: Rig, instance: string, proof: Proof): Promise<number> {
  const outcome = await rig.registry.register(
    registration({ node_id: RADAR, instance_id: instance, class: "ephemeral" }),
    proof,
  );
  if (outcome.at !== "registered") throw new Error(outcome.at);
  return outcome.epoch;
}

/** The epochs from 1 to `last` whose refresh tokens are valid. */
function honoured(rig: Rig, last: number): number[] {
  const epochs = Array.from({ length: last }, (_, i) => i + 1);
  return epochs.filter((epoch) => rig.registry.honours(RADAR, epoch));
}

describe("a refresh token (H5)", () => {
  test("stays valid as long as its node registers with its own token", async () => {
    const rig = new Rig();
    await register(rig, "i1", "enrolment");
    await register(rig, "i2", "refresh");
    await register(rig, "i3", "refresh");
    expect(honoured(rig, 3)).toEqual([1, 2, 3]);
  });

  test("is void once its node enrolled again, also after a restart", async () => {
    const rig = new Rig();
    await register(rig, "i1", "enrolment");
    await register(rig, "i2", "refresh");
    await register(rig, "i3", "enrolment");
    expect(honoured(rig, 3)).toEqual([3]);
    await register(rig, "i4", "refresh");
    rig.restart();
    expect(honoured(rig, 4)).toEqual([3, 4]);
  });

  test("stays valid when the same instance enrols again, because it missed the response", async () => {
    const rig = new Rig();
    await register(rig, "i1", "enrolment");
    await register(rig, "i1", "enrolment");
    expect(honoured(rig, 1)).toEqual([1]);
  });

  test("is void once its node was removed or blocked, and stays void when the node returns", async () => {
    for (const how of ["remove", "block"] as const) {
      const rig = new Rig();
      await register(rig, "i1", "enrolment");
      await register(rig, "i2", "refresh");
      await rig.registry[how](RADAR);
      expect(honoured(rig, 2)).toEqual([]);
      rig.restart();
      expect(honoured(rig, 2)).toEqual([]);
      await rig.registry.unblock(RADAR);
      const epoch = await register(rig, "i3", "enrolment");
      expect([epoch, honoured(rig, 3)]).toEqual([3, [3]]);
    }
  });

  test("stays valid for a node that has aged out, so that one that slept returns by itself", async () => {
    const retentionMs = { persistent: HOUR_MS, ephemeral: 600_000 };
    const rig = new Rig({ retentionMs });
    await register(rig, "i1", "enrolment");
    await register(rig, "i2", "enrolment");
    await rig.advance(HOUR_MS);
    expect(rig.registry.get(RADAR)).toBeUndefined();
    // Blocking its id for a while makes no difference.
    await rig.registry.block(RADAR);
    await rig.registry.unblock(RADAR);
    expect(honoured(rig, 2)).toEqual([2]);
    await register(rig, "i3", "refresh");
    expect(honoured(rig, 3)).toEqual([2, 3]);
  });

  test("of a node that was removed stays void when a plain node takes its name, also after a restart", async () => {
    const rig = new Rig();
    await register(rig, "i1", "enrolment");
    await register(rig, "i2", "refresh");
    await rig.registry.remove(RADAR);
    rig.registry.heardPlain(RADAR);
    expect(honoured(rig, 2)).toEqual([]);
    rig.restart();
    expect(honoured(rig, 2)).toEqual([]);
    const epoch = await register(rig, "i3", "enrolment");
    expect([epoch, honoured(rig, 3)]).toEqual([3, [3]]);
  });
});
