/** Restores a backup, or starts from nothing, while agents run: they need no help, and no frame is lost. (H10, R3, A16) */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fleet, recordingTracker, until } from "./rig/fleet.ts";
import { COUNTING_SH } from "./rig/sensors.ts";

let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(() => fleet.close());

/** A config whose trackers record each stream in its own file. */
function recording(): Record<string, unknown> {
  const command = recordingTracker(join(fleet.dir, "{stream}.frames"));
  return { tracker: { command, stop_grace: "2s" }, registry: { heartbeat_interval: "100ms" } };
}

function startAgent(name: string): ReturnType<Fleet["agent"]> {
  const script = fleet.write("s.sh", COUNTING_SH);
  const sensor = { name: "s", runtime: "shell", command: [script], mode: "stream" };
  return fleet.agent(name, { node: { name }, sensors: [sensor] });
}

function numbersOf(name: string): number[] {
  const text = fleet.read(`${name}.s.frames`);
  return [...text.matchAll(/"delay":\[(\d+)\]/g)].map(([, n]) => Number(n));
}

function untilMore(name: string): Promise<unknown> {
  const before = numbersOf(name).length;
  return until(`frames of ${name} arrive`, () => numbersOf(name).length > before + 20);
}

/** Expects all frames in order, except for one step back to those that were delivered but not acknowledged at the stop. */
function checkFrames(numbers: readonly number[]): void {
  const inOrder = [...new Set(numbers)];
  expect(inOrder).toEqual(inOrder.map((_, i) => i + 1));
  expect(numbers.filter((n, i) => n <= (numbers[i - 1] ?? 0)).length).toBeLessThanOrEqual(1);
}

async function runCoordinator(...args: string[]): Promise<void> {
  const run = fleet.spawn("fleet-coordinator", [...args, "--data-dir", join(fleet.dir, "data")]);
  expect([await run.exit(), run.log]).toEqual([0, []]);
}

describe("a coordinator restored from a backup", () => {
  test("gets all nodes back, even those newer than the backup, and every frame; only frames not acknowledged at the stop arrive twice", async () => {
    const first = await fleet.coordinator(recording());
    const early = startAgent("early");
    await untilMore("early");
    await runCoordinator("backup", join(fleet.dir, "fleet.backup"));
    await untilMore("early");
    const late = startAgent("late");
    await untilMore("late");
    first.kill("SIGTERM");
    await first.exit();
    await runCoordinator("restore", join(fleet.dir, "fleet.backup"), "--force");
    await fleet.coordinator(recording());
    for (const [name, agent] of [
      ["early", early],
      ["late", late],
    ] as const) {
      await fleet.untilState(name, "LIVE");
      await untilMore(name);
      agent.kill("SIGTERM");
      expect(await agent.exit()).toBe(143);
      checkFrames(numbersOf(name));
    }
    // An agent from before the backup continues as the same instance.
    expect((await fleet.node("early"))?.epoch).toBe(1);
    expect((await fleet.node("late"))?.epoch).toBeGreaterThan(1_000_000);
  });

  test("loses no frame of an agent killed meanwhile; frames that the agent did not know to have arrived may arrive twice", async () => {
    const first = await fleet.coordinator(recording());
    const killed = startAgent("hill");
    await untilMore("hill");
    await runCoordinator("backup", join(fleet.dir, "fleet.backup"));
    await untilMore("hill");
    first.kill("SIGKILL");
    await first.exit();
    killed.kill("SIGKILL");
    await killed.exit();
    const before = numbersOf("hill");
    await runCoordinator("restore", join(fleet.dir, "fleet.backup"), "--force");
    await fleet.coordinator(recording());
    const heir = startAgent("hill");
    await until("frames of the new agent arrive", () => numbersOf("hill").lastIndexOf(1) > 0);
    heir.kill("SIGTERM");
    await heir.exit();
    const numbers = numbersOf("hill");
    const again = numbers.lastIndexOf(1);
    expect(new Set(numbers.slice(0, again)).size).toBeGreaterThanOrEqual(before.length);
    expect(numbers.slice(again)).toEqual(numbers.slice(again).map((_, i) => i + 1));
    expect((await fleet.node("hill"))?.epoch).toBeGreaterThan(1_000_000);
  });
});

test("a coordinator whose damaged database is removed gets its running nodes back, and every frame (R3)", async () => {
  const first = await fleet.coordinator(recording());
  const agent = startAgent("hill");
  await untilMore("hill");
  // Stop, because after a kill the write-ahead log might hold everything.
  first.kill("SIGTERM");
  await first.exit();
  const database = join(fleet.dir, "data/coordinator.db");
  writeFileSync(database, Buffer.alloc(65_536, 0xa5));
  const serve = ["serve", "--insecure-dev", "--data-dir", join(fleet.dir, "data")];
  const refused = fleet.spawn("fleet-coordinator", serve);
  expect(await refused.exit()).toBe(65);
  expect(refused.log.join()).toContain(`${database} is damaged`);
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${database}${suffix}`, { force: true });
  await fleet.coordinator(recording());
  await fleet.untilState("hill", "LIVE");
  await untilMore("hill");
  agent.kill("SIGTERM");
  expect(await agent.exit()).toBe(143);
  checkFrames(numbersOf("hill"));
});
