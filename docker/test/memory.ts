/** What an agent's container needs when its sensor gives it more than the uplink can take. (A16) */
import { describe, expect, test } from "bun:test";
import { until } from "./engine.ts";
import type { Fleet } from "./fleet.ts";

const LIMIT_BYTES = 64 * 1024 ** 2;
/** Several times what the spool holds. */
const PRODUCED_MIN = 1_000_000;

export function testMemory(fleetOf: () => Fleet): void {
  describe("an agent's container limited to 64 MiB", () => {
    test("holds while its sensor prints as fast as it can and its spool is full", async () => {
      const fleet = fleetOf();
      const { engine } = fleet;
      await fleet.runAgent("busy", {
        image: "empty",
        runtime: "native",
        sensor: ["numbers", "0"],
        flags: [`--memory=${LIMIT_BYTES}`],
      });
      const { produced, acked, spooled, dropped } = await until("frames are dropped", async () => {
        const counters = (await fleet.node("busy"))?.counters["radar"];
        const { produced: count = 0, dropped: reasons = {} } = counters ?? {};
        return count > PRODUCED_MIN && (reasons["spool_full"] ?? 0) > 0 && counters;
      });
      expect(acked + spooled + (dropped["spool_full"] ?? 0)).toBe(produced);
      expect(await engine.memoryPeak("busy")).toBeLessThan(LIMIT_BYTES);
      await engine.docker("stop", "busy");
      expect(await fleet.ending("busy")).toEqual({ code: 143, oom: false });
      await fleet.remove("busy");
    });
  });
}
