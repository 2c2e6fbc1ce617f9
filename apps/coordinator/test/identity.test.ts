/** Several processes that claim one node: on one state directory, under one name, with a copy of one identity. (A14, R9) */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Fleet, until } from "./harness.ts";
import { COUNTING_SH } from "./sensors.ts";

let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(() => fleet.close());

/** A sensor that writes its process id to `NAME.pid`. */
function counting(name: string): Record<string, unknown> {
  const script = fleet.write(
    `${name}.sh`,
    `echo $$ > ${join(fleet.dir, name)}.pid\n${COUNTING_SH}`,
  );
  return { name: "s", runtime: "shell", command: [script], mode: "stream", restart: "always" };
}

function pidOf(name: string): Promise<number> {
  return until(`the sensor of ${name}`, () => Number(fleet.read(`${name}.pid`)) || undefined);
}

function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

describe("a second agent", () => {
  test("on a state directory that is in use ends with 75 and leaves the first one's sensor and node alone", async () => {
    await fleet.coordinator();
    const first = fleet.agent("hill", { node: { name: "hill" }, sensors: [counting("first")] });
    const pid = await pidOf("first");
    const { epoch } = await fleet.untilState("hill", "LIVE");
    const second = fleet.agent("hill", { node: { name: "hill" }, sensors: [counting("second")] });
    expect(await second.exit()).toBe(75);
    expect(second.log.at(-1)).toContain(`is in use by another agent (pid ${first.pid} on `);
    expect(isAlive(pid)).toBe(true);
    expect(fleet.read("second.pid")).toBe("");
    expect((await fleet.node("hill"))?.epoch).toBe(epoch);
    first.kill("SIGKILL");
    await first.exit();
    fleet.agent("hill", { node: { name: "hill" }, sensors: [counting("third")] });
    await pidOf("third");
  });

  test("under the same name wins: the older one stops its sensor and ends with 69", async () => {
    await fleet.coordinator();
    const older = fleet.agent("a", { node: { name: "twin" }, sensors: [counting("older")] });
    const pid = await pidOf("older");
    await fleet.untilState("twin", "LIVE");
    fleet.agent("b", { node: { name: "twin" }, sensors: [counting("newer")] });
    expect(await older.exit()).toBe(69);
    expect(isAlive(pid)).toBe(false);
    await until("the newer one's frames", () => pidOf("newer").then(isAlive));
    expect((await fleet.untilState("twin", "LIVE")).epoch).toBe(2);
  });

  test("makes the older one stop its sensor and stay, where it is told to, until it is ended", async () => {
    await fleet.coordinator();
    const node = { name: "twin", on_superseded: "stay" };
    const older = fleet.agent("a", { node, sensors: [counting("older")] });
    const pid = await pidOf("older");
    await fleet.untilState("twin", "LIVE");
    fleet.agent("b", { node: { name: "twin" }, sensors: [counting("newer")] });
    await until("the older one stays", () =>
      older.log.some((line) => line.includes("staying without sensors")),
    );
    await until("its sensor has ended", () => !isAlive(pid));
    older.kill("SIGHUP");
    await pidOf("newer");
    expect(isAlive(pid)).toBe(false);
    expect(older.process.exitCode).toBeNull();
    older.kill("SIGTERM");
    expect(await older.exit()).toBe(143);
    expect((await fleet.untilState("twin", "LIVE")).epoch).toBe(2);
  });
});
