/** Tests what must hold in every stock image, no matter what it contains. (A1, A3, A12) */
import { describe, expect, test } from "bun:test";
import { type Fleet, upTo } from "./fleet.ts";
import { STAND_INS } from "./stock.ts";

const FRAMES_MIN = 20;
const NOBODY = 65_534;
/** A user id as some clusters assign them. */
const UNKNOWN_UID = 1_000_660_000;

/** Defines the tests for all stand-ins. They call `fleetOf` when they run. */
export function testStockImages(fleetOf: () => Fleet): void {
  describe.each(STAND_INS.map((image) => [image.name, image] as const))(
    "the agent in the stock image %s",
    (name, { runtime, sensor }) => {
      const pauseUs = sensor === "numbers" ? ["20000"] : [];

      test("is LIVE, its sensor's frames reach the tracker, and docker stop loses none (A1, A3, A12)", async () => {
        const fleet = fleetOf();
        await fleet.runAgent(name, { image: name, runtime, sensor: [sensor, ...pauseUs] });
        await fleet.untilState(name, "LIVE");
        await fleet.untilFrames(name, FRAMES_MIN);
        expectUnprivileged(await fleet.engine.ofInit(name, "status"));

        await fleet.engine.docker("stop", "--time=10", name);
        // It would be 137 if it had been killed after the grace period.
        expect(await fleet.ending(name)).toEqual({ code: 143, oom: false });
        expect((await fleet.node(name))?.state).toBe("SHUTDOWN");
        const last = fleet.lastFrame(name);
        expect(last).toBeGreaterThanOrEqual(FRAMES_MIN);
        expect(fleet.frames(name)).toEqual(upTo(last));
        await fleet.remove(name);
      });
    },
  );

  test("the agent runs as a user that is unknown to the image, without a directory of its own (A1)", async () => {
    const fleet = fleetOf();
    const flags = [`--user=${UNKNOWN_UID}:0`, "--env=FLEET_STATE_DIR="];
    const sensor = ["numbers", "20000"];
    await fleet.runAgent("stranger", { image: "empty", runtime: "native", sensor, flags });
    expect((await fleet.untilState("stranger", "LIVE")).class).toBe("ephemeral");
    await fleet.untilFrames("stranger", FRAMES_MIN);
    await fleet.remove("stranger");
  });
}

/** Expects the user nobody, without capabilities or a way to gain any. */
function expectUnprivileged(status: string): void {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:\\s*(.+)$`, "m").exec(status)?.[1];
  expect(field("Uid")).toBe([NOBODY, NOBODY, NOBODY, NOBODY].join("\t"));
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
    expect([set, field(set)]).toEqual([set, "0".repeat(16)]);
  expect(field("NoNewPrivs")).toBe("1");
}
