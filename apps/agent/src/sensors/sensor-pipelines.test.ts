import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, seededRandom, systemClock } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { nodeIdSchema } from "@fleet/protocol";
import { processIdentity } from "@fleet/supervisor";
import { readProcessJournal } from "./process-journal.ts";
import { SensorPipelines, type SensorPlans } from "./sensor-pipelines.ts";
import type { SensorPlan } from "./sensor-plan.ts";
import { eventually, frameText, recordingLog, sensorOf } from "../testing.ts";
import { Uplink } from "../uplink/uplink.ts";

const SH = "/bin/sh";
/** Prints a frame, then runs until it is ended. */
const UP = `echo '${frameText(1)}'; while :; do sleep 0.01; done`;
/** Prints no frames, so that its removal need not wait for acks. */
const SILENT = "while :; do sleep 0.01; done";

let stateDir: string;
const all: SensorPipelines[] = [];

beforeEach(() => (stateDir = mkdtempSync(join(tmpdir(), "lines-"))));

afterEach(async () => {
  for (const lines of all.splice(0)) {
    const stopped = lines.stopSensors(systemClock.monotonicMs() + 3000);
    lines.kill();
    await stopped;
  }
  rmSync(stateDir, { recursive: true });
});

type File = Readonly<Record<string, unknown>>;

function planOf(name: string, script = UP, file: File = {}): SensorPlan {
  const config = sensorOf({ name, runtime: "shell", command: ["-c", script], ...file });
  return {
    at: "runnable",
    config,
    argv: [SH, ...config.command],
    virtualEnv: undefined,
    user: undefined,
  };
}

function impossible(name: string): SensorPlan {
  const config = sensorOf({ name, runtime: "cobol" });
  return { at: "unavailable", config, reason: "needs cobol", remedy: "use python" };
}

const planned = (...plans: SensorPlan[]): SensorPlans => ({ plans, runtimes: "shell" });

function setUp(plans: SensorPlans, clock: Clock = systemClock) {
  const { log, lines: said } = recordingLog();
  const random = seededRandom(1);
  const lines = new SensorPipelines(plans, {
    image: { PATH: "/usr/bin:/bin" },
    nodeId: nodeIdSchema.parse("mast"),
    coordinatorUrl: "http://c:7700",
    secrets: [],
    stateDir,
    spool: {
      bytesMax: 1 << 20,
      memoryBytesMax: 1 << 20,
      ageMaxMs: undefined,
      onFull: "drop_oldest",
    },
    newUplink: (sensor, spool, lineLog) =>
      new Uplink({
        sensor,
        spool,
        ca: undefined,
        clock,
        random,
        log: lineLog,
        grant: () => undefined,
        onUnauthorized: () => {},
        onSuperseded: () => {},
        onLost: () => {},
      }),
    clock,
    random,
    log,
  });
  all.push(lines);
  const pids = (): Record<string, number> =>
    Object.fromEntries(readProcessJournal(stateDir, log).map(({ sensor, pid }) => [sensor, pid]));
  const produced = (name: string): number => lines.counters()[name]?.produced ?? -1;
  return { lines, said, pids, produced };
}

describe("A11: a new config of the sensors", () => {
  test("starts, restarts and stops those that it is about, and leaves the others untouched", async () => {
    const { lines, pids, produced } = setUp(
      planned(planOf("same"), planOf("changed"), planOf("gone", SILENT)),
    );
    lines.run();
    await eventually(() => produced("same") === 1 && produced("changed") === 1);
    const before = pids();
    const next = planned(planOf("same"), planOf("changed", UP, { env: { A: "1" } }), planOf("new"));
    expect(await lines.reconfigure(next)).toEqual({
      started: ["new"],
      restarted: ["changed"],
      stopped: ["gone"],
    });
    // The spool still has the frame of its first run, besides the one of the second.
    await eventually(() => produced("changed") === 2 && produced("new") === 1);
    const after = pids();
    expect(Object.keys(after).toSorted()).toEqual(["changed", "new", "same"]);
    expect(after["same"]).toBe(before["same"]);
    expect(after["changed"]).not.toBe(before["changed"]!);
    expect(processIdentity(before["changed"]!)).toBeUndefined();
    expect(processIdentity(before["gone"]!)).toBeUndefined();
    expect(Object.keys(lines.counters()).toSorted()).toEqual(["changed", "new", "same"]);
  });

  test.each<[string, File]>([
    ["another argument", { command: ["-c", UP, "more"] }],
    ["another working directory", { cwd: "/" }],
    ["another limit", { stop_grace: "4s" }],
    ["another mode", { mode: "poll", interval: "1h" }],
    ["another bound of its log", { log: { files: 3 } }],
  ])("restarts a sensor that gets %s", async (_, file) => {
    const { lines, produced } = setUp(planned(planOf("radar")));
    lines.run();
    await eventually(() => produced("radar") === 1);
    expect(await lines.reconfigure(planned(planOf("radar", UP, file)))).toMatchObject({
      restarted: ["radar"],
    });
  });

  test("that is the same in other words does nothing", async () => {
    const { lines, pids, produced } = setUp(
      planned(planOf("radar", UP, { env: { A: "1", B: "2" } })),
    );
    lines.run();
    await eventually(() => produced("radar") === 1);
    const before = pids();
    const same = planned(planOf("radar", UP, { env: { B: "2", A: "1" } }));
    expect(await lines.reconfigure(same)).toEqual({ started: [], restarted: [], stopped: [] });
    expect(pids()).toEqual(before);
  });

  test("restarts a sensor whose environment changes with the runtimes that are here", async () => {
    const { lines, produced } = setUp(planned(planOf("radar")));
    lines.run();
    await eventually(() => produced("radar") === 1);
    const done = await lines.reconfigure({ plans: [planOf("radar")], runtimes: "shell,python" });
    expect(done.restarted).toEqual(["radar"]);
  });

  test("holds the next run to its new line length", async () => {
    const long = frameText(1);
    const { lines, produced } = setUp(planned(planOf("radar")));
    lines.run();
    await eventually(() => produced("radar") === 1);
    await lines.reconfigure(planned(planOf("radar", UP, { line_bytes_max: `${long.length}B` })));
    await eventually(() => produced("radar") === 2);
    expect(lines.counters()["radar"]).toMatchObject({ spooled: 1, dropped: { too_long: 1 } });
  });

  test("tells of a sensor that can't run once, and starts it when it can", async () => {
    const { lines, said, pids } = setUp(planned(impossible("a")));
    lines.run();
    expect(lines.infos()).toEqual([
      { name: "a", runtime: "cobol", mode: "stream", problem: "needs cobol; use python" },
    ] as never);
    await lines.reconfigure(planned(impossible("a"), impossible("b")));
    const told = said.filter(({ level }) => level === "error").map(({ message }) => message);
    expect(told).toEqual([
      "sensor a can't run here: needs cobol",
      "sensor b can't run here: needs cobol",
    ]);
    expect(await lines.reconfigure(planned(planOf("a", SILENT)))).toMatchObject({ started: ["a"] });
    expect(Object.keys(pids())).toEqual(["a"]);
    expect(await lines.reconfigure(planned(impossible("a")))).toMatchObject({ stopped: ["a"] });
  });

  test("tells the coordinator of so many problems only as much as fits into a registration", () => {
    const many = Array.from({ length: 256 }, (_, i) => ({
      ...impossible(`s${i}`),
      reason: "x".repeat(1000),
    }));
    const lengths = (plans: SensorPlan[]): number[] =>
      setUp(planned(...plans))
        .lines.infos()
        .map(({ problem }) => problem?.length ?? 0);
    expect(new Set(lengths(many))).toEqual(new Set([256]));
    expect(lengths(many.slice(0, 1))).toEqual([512]);
  });

  test("runs concurrent calls one after the other, up to the last one", async () => {
    const { lines, pids, produced } = setUp(planned(planOf("a", SILENT)));
    lines.run();
    const configs = [planned(planOf("b", SILENT)), planned(), planned(planOf("c"))];
    await Promise.all(configs.map((next) => lines.reconfigure(next)));
    await eventually(() => produced("c") === 1);
    expect(Object.keys(pids())).toEqual(["c"]);
  });

  test("gives the frames of a removed sensor time to be sent, and logs the rest", async () => {
    const clock = new FakeClock();
    const { lines, said, produced } = setUp(planned(planOf("radar")), clock);
    lines.run();
    await eventually(() => produced("radar") === 1);
    const done = lines.reconfigure(planned());
    await eventually(() => said.some(({ message }) => message === "sensor ended"));
    await clock.run(4999);
    expect(Object.keys(lines.counters())).toEqual(["radar"]);
    await clock.run(5000);
    expect(await done).toMatchObject({ stopped: ["radar"] });
    const left = said.find(({ message }) => message.startsWith("frames stay in the spool"));
    expect(left?.fields).toEqual({ sensor: "radar", frames: 1 });
  });

  test("that a stop overtakes starts nothing any more", async () => {
    const slow = `trap 'sleep 0.2; exit 0' TERM; ${UP}`;
    const { lines, pids, produced } = setUp(planned(planOf("radar", slow)));
    lines.run();
    await eventually(() => produced("radar") === 1);
    const done = lines.reconfigure(planned(planOf("radar", UP, { cwd: "/" }), planOf("new")));
    await eventually(() => produced("new") === 1);
    await lines.stopSensors(systemClock.monotonicMs() + 3000);
    await done;
    expect(await lines.reconfigure(planned(planOf("later")))).toMatchObject({ started: [] });
    expect(pids()).toEqual({});
  });

  test("before the sensors run starts none", async () => {
    const { lines, pids, produced } = setUp(planned(planOf("a")));
    await lines.reconfigure(planned(planOf("a", UP, { cwd: "/" }), planOf("b")));
    expect(pids()).toEqual({});
    lines.run();
    await eventually(() => produced("a") === 1 && produced("b") === 1);
  });
});

test("A11: a sensor's log lies in the state directory, and can be asked for", async () => {
  const { lines, said } = setUp(
    planned(planOf("radar", "echo oops >&2; exit 3", { restart: "never" })),
  );
  lines.run();
  await eventually(() => said.some(({ message }) => message === "sensor ended"));
  const text = readFileSync(join(stateDir, "logs", "radar.log"), "utf8");
  expect(text.split("\n").length).toBe(4);
  expect(lines.tail("radar", 2)?.[0]).toEndWith(" | oops");
  expect(lines.tail("sonar", 2)).toBeUndefined();
});
