/** Restores a backup, or an empty database, while agents run: they recover by themselves and lose no frame. (H10, R3, A16) */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fleet, until } from "./harness.ts";
import { COUNTING_SH } from "./sensors.ts";

let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(() => fleet.close());

/** Trackers record what they receive, one file per stream. */
function recording(): Record<string, unknown> {
  const tracker = join(import.meta.dir, "recording-tracker.ts");
  const command = [process.execPath, tracker, "{port}", join(fleet.dir, "{stream}.frames")];
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
  return until(`frames of ${name}`, () => numbersOf(name).length > before + 20);
}

/** Whether all frames arrived in order, except for one step back to frames that were unacknowledged at the stop. */
function checkFrames(numbers: readonly number[]): void {
  const inOrder = [...new Set(numbers)];
  expect(inOrder).toEqual(inOrder.map((_, i) => i + 1));
  expect(numbers.filter((n, i) => n <= (numbers[i - 1] ?? 0)).length).toBeLessThanOrEqual(1);
}

async function coordinatorDoes(...args: string[]): Promise<void> {
  const run = fleet.spawn("fleet-coordinator", [...args, "--data-dir", join(fleet.dir, "data")]);
  expect([await run.exit(), run.log]).toEqual([0, []]);
}

describe("a coordinator restored from a backup", () => {
  test("gets all nodes back, also newer ones, and every frame; only unacknowledged frames arrive twice", async () => {
    const first = await fleet.coordinator(recording());
    const early = startAgent("early");
    await untilMore("early");
    await coordinatorDoes("backup", join(fleet.dir, "fleet.backup"));
    await untilMore("early");
    const late = startAgent("late");
    await untilMore("late");
    first.kill("SIGTERM");
    await first.exit();
    await coordinatorDoes("restore", join(fleet.dir, "fleet.backup"), "--force");
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
    // An instance older than the backup continues as the same instance.
    expect((await fleet.node("early"))?.epoch).toBe(1);
    expect((await fleet.node("late"))?.epoch).toBeGreaterThan(1_000_000);
  });

  test("loses no frame of an agent that was killed meanwhile; frames whose acknowledgement it missed may arrive twice", async () => {
    const first = await fleet.coordinator(recording());
    const killed = startAgent("hill");
    await untilMore("hill");
    await coordinatorDoes("backup", join(fleet.dir, "fleet.backup"));
    await untilMore("hill");
    first.kill("SIGKILL");
    await first.exit();
    killed.kill("SIGKILL");
    await killed.exit();
    const before = numbersOf("hill");
    await coordinatorDoes("restore", join(fleet.dir, "fleet.backup"), "--force");
    await fleet.coordinator(recording());
    const heir = startAgent("hill");
    await until("frames of its new run", () => numbersOf("hill").lastIndexOf(1) > 0);
    heir.kill("SIGTERM");
    await heir.exit();
    const numbers = numbersOf("hill");
    const again = numbers.lastIndexOf(1);
    expect(new Set(numbers.slice(0, again)).size).toBeGreaterThanOrEqual(before.length);
    expect(numbers.slice(again)).toEqual(numbers.slice(again).map((_, i) => i + 1));
    expect((await fleet.node("hill"))?.epoch).toBeGreaterThan(1_000_000);
  });
});

test("a coordinator whose damaged database is moved away gets its running nodes back, and every frame (R3)", async () => {
  const first = await fleet.coordinator(recording());
  const agent = startAgent("hill");
  await untilMore("hill");
  // After a kill the write-ahead log might hold everything.
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
