/** Tests an agent's memory when its sensor prints more than the uplink takes, or itself uses all memory. (A11, A16) */
import { describe, expect, test } from "bun:test";
import { until } from "./engine.ts";
import type { Fleet } from "./fleet.ts";

const LIMIT_BYTES = 64 * 1024 ** 2;
/** Frames that take more memory than the container has. */
const PRODUCED_MIN = 1_500_000;

export function testMemory(fleetOf: () => Fleet): void {
  describe("an agent's container", () => {
    test.each([
      ["disk", []],
      ["memory", ["--env=FLEET_STATE_DIR="]],
    ] as const)(
      "of 64 MiB survives a sensor that prints as fast as it can, with a %s spool",
      async (where, flags) => {
        const fleet = fleetOf();
        const name = `busy-${where}`;
        await fleet.runAgent(name, {
          image: "empty",
          runtime: "native",
          sensor: ["numbers", "0"],
          flags: [`--memory=${LIMIT_BYTES}`, ...flags],
        });
        const { produced, acked, spooled, dropped } = await until(
          "many frames are produced",
          async () => {
            const counters = (await fleet.node(name))?.counters["radar"];
            return counters !== undefined && counters.produced > PRODUCED_MIN && counters;
          },
        );
        expect(acked + spooled + (dropped["spool_full"] ?? 0)).toBe(produced);
        await fleet.engine.docker("stop", name);
        expect(await fleet.ending(name)).toEqual({ code: 143, oom: false });
        await fleet.remove(name);
      },
    );

    test("of 64 MiB survives when its sensor uses all memory, and restarts the sensor", async () => {
      const fleet = fleetOf();
      const limits = [`--memory=${LIMIT_BYTES}`, `--memory-swap=${LIMIT_BYTES}`];
      const sensor = ["hog.py"];
      await fleet.runAgent("hogged", { image: "python", runtime: "python", sensor, flags: limits });
      const ended = /"sensor":"radar","signal":"SIGKILL"/;
      await until("the sensor is killed", async () => ended.test(await fleet.logs("hogged")));
      const before = fleet.frames("hogged").length;
      await fleet.untilFrames("hogged", before + 1);
      expect(await fleet.node("hogged")).toMatchObject({ state: "LIVE", epoch: 1 });
      await fleet.engine.docker("stop", "hogged");
      expect((await fleet.ending("hogged")).code).toBe(143);
      await fleet.remove("hogged");
    });
  });
}
