/** Tests that the frames on the disk of an agent killed under load reach the coordinator, once and in order. (A16) */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Fleet, recordingTracker, until } from "../rig/fleet.ts";

/** Prints numbered frames, the number in `delay`, at some tens of thousands per second. */
const FLOOD = `
import sys, time
i = 0
while True:
    lines = []
    for _ in range(200):
        i += 1
        lines.append('{"timestamp":%d,"delay":[%d],"doppler":[0],"snr":[1]}\\n' % (1783500000000 + i, i))
    sys.stdout.write("".join(lines))
    sys.stdout.flush()
    time.sleep(0.005)
`;
const SPOOLED_BYTES = 2 * 1024 * 1024;

let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(() => fleet.close());

function sensor(script: string): Record<string, unknown> {
  return { name: "s", runtime: "python", command: [script], mode: "stream", restart: "always" };
}

function numbersIn(text: string): number[] {
  return [...text.matchAll(/"delay":\[(\d+)\]/g)].map(([, n]) => Number(n));
}

function spoolFiles(): string[] {
  const dir = join(fleet.dir, "state-flooded", "spool", "s");
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => name.endsWith(".frames"))
    .map((name) => join(dir, name));
}

test("all committed frames of an agent killed under load while its coordinator is down arrive once and in order, and the balance holds", async () => {
  const command = recordingTracker(join(fleet.dir, "frames"));
  const registry = { heartbeat_interval: "100ms" };
  const config = { tracker: { command, stop_grace: "2s" }, registry };
  const first = await fleet.coordinator(config);
  const node = { name: "flooded" };
  const agent = fleet.agent("flooded", { node, sensors: [sensor(fleet.write("flood.py", FLOOD))] });
  await until("frames", () => numbersIn(fleet.read("frames")).length > 1000);
  first.kill("SIGTERM");
  await first.exit();
  await until("a spool on disk", () => {
    return spoolFiles().reduce((sum, file) => sum + statSync(file).size, 0) > SPOOLED_BYTES;
  });
  agent.kill("SIGKILL");
  await agent.exit();
  const committed = spoolFiles().flatMap((file) => numbersIn(readFileSync(file, "latin1")));
  const last = Math.max(...committed);
  await fleet.coordinator(config);
  const silent = fleet.write("silent.py", "import time\ntime.sleep(1000)\n");
  fleet.agent("flooded", { node, sensors: [sensor(silent)] });
  await until("the backlog", () => numbersIn(fleet.read("frames")).at(-1) === last);
  const arrived = numbersIn(fleet.read("frames"));
  expect(arrived).toEqual(Array.from({ length: last }, (_, i) => i + 1));
  const counters = await until("the last ack in a heartbeat", async () => {
    const found = (await fleet.node("flooded"))?.counters["s"];
    return found?.spooled === 0 && found;
  });
  expect(counters).toEqual({ produced: last, acked: last, spooled: 0, dropped: {} });
}, 60_000);
