/** Several processes that claim one node: with one state directory, with one name, or with copies of one identity. (A14, R9) */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Fleet, until } from "./rig/fleet.ts";
import { COUNTING_SH } from "./rig/sensors.ts";

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
  return until(`the sensor of ${name} runs`, () => Number(fleet.read(`${name}.pid`)) || undefined);
}

function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

describe("a second agent", () => {
  test("on a state directory in use exits with 75 and does not affect the first agent's sensor and node", async () => {
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

  test("with the same name wins: the older one stops its sensor and exits with 69", async () => {
    await fleet.coordinator();
    const older = fleet.agent("a", { node: { name: "twin" }, sensors: [counting("older")] });
    const pid = await pidOf("older");
    await fleet.untilState("twin", "LIVE");
    fleet.agent("b", { node: { name: "twin" }, sensors: [counting("newer")] });
    expect(await older.exit()).toBe(69);
    expect(isAlive(pid)).toBe(false);
    await until("the newer one's sensor runs", () => pidOf("newer").then(isAlive));
    expect((await fleet.untilState("twin", "LIVE")).epoch).toBe(2);
  });

  test("makes the older one stop its sensor and keep running if configured so, until it is stopped", async () => {
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

describe("two copies of one state directory, each under a supervisor that restarts the agent,", () => {
  test("contend for three rounds; then one keeps the node, and the other learns why it is refused", async () => {
    await fleet.coordinator();
    const config = (name: string): Record<string, unknown> => ({ sensors: [counting(name)] });
    const origin = fleet.agent("a", config("a"));
    const { node_id: id } = await until("the node is listed", async () => (await fleet.nodes())[0]);
    origin.kill("SIGTERM");
    await origin.exit();
    cpSync(join(fleet.dir, "state-a"), join(fleet.dir, "state-b"), { recursive: true });

    const refusals: string[] = [];
    const supervise = async (name: string): Promise<void> => {
      while (refusals.length < 3) {
        const run = fleet.agent(name, config(name));
        const ended = await Promise.race([run.exit(), isOver.promise]);
        if (ended === undefined) return;
        expect(ended).toBe(69);
        const last = run.log.find((line) => line.includes("another process speaks for this node"));
        if (last?.includes("keep taking over this node from each other") === true)
          refusals.push(name);
      }
      isOver.resolve(undefined);
    };
    const isOver = Promise.withResolvers<undefined>();
    await Promise.all([supervise("a"), supervise("b")]);
    expect(new Set(refusals).size).toBe(1);
    const node = await fleet.untilState(id, "LIVE");
    const before = await fleet.tracker(`${id}.s`);
    await until("frames of the remaining one arrive", async () => {
      return ((await fleet.tracker(`${id}.s`))?.frames ?? 0) > (before?.frames ?? 0);
    });
    expect((await fleet.node(id))?.epoch).toBe(node.epoch);
    expect(node.epoch).toBeLessThanOrEqual(6);
  });
});
