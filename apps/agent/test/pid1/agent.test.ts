/**
 * Runs the built agent as PID 1 of a container, and under tini, dumb-init and s6. Whatever is PID 1, orphans of sensors are
 * reaped, and a stop is orderly, within the time that a runtime allows, with every frame delivered. (A8, A12)
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { type Init, INITS, isAlive, Pid1, missingForInits } from "@fleet/static-elf/testing";
import { Outside } from "../roots/outside.ts";
import { until } from "../roots/root.ts";
import { BRIEF_CODE, type SensorSettings, writeSensors } from "./sensors.ts";

const DIST = join(import.meta.dir, "../../../../dist");
/** How long Docker waits before SIGKILL. */
const GRACE_MS = 10_000;
const FRAMES_MIN = 20;
const BRIEF_RUNS_MIN = 2;
const NUMBERS_PER_RUN = 100_000;
const { SIGKILL, SIGTERM } = constants.signals;

const missing = [
  missingForInits(),
  existsSync(join(DIST, "fleet-agent")) ? undefined : "dist/fleet-agent",
]
  .filter((what) => what !== undefined)
  .join("; ");
const isSkipped = missing !== "" && process.env["CI"] !== "true";
if (isSkipped) console.warn(`the agent as PID 1: skipped, missing: ${missing}`);

/** An agent that has registered and whose sensors' frames have arrived. */
interface Running extends AsyncDisposable, SensorSettings {
  readonly pid1: Pid1;
}

const dir = mkdtempSync(join(tmpdir(), "fleet-pid1-"));
let outside: Outside;
let runs = 0;
beforeAll(async () => {
  if (isSkipped) return;
  chmodSync(dir, 0o755);
  outside = await Outside.start(join(DIST, "fleet-coordinator"), join(dir, "outside"));
});
afterAll(async () => {
  await outside?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Starts an agent whose node is named after its init; frames of different runs of one node have different numbers. */
async function start(init: Init, more: Partial<SensorSettings> = {}): Promise<Running> {
  const node = `under-${init.replaceAll(/\W+/g, "-")}`;
  const here = join(dir, String(++runs));
  mkdirSync(here);
  const first = runs * NUMBERS_PER_RUN;
  const settings = { dir: here, node, first, sensors: ["orderly", "stubborn"] as const, ...more };
  const config = writeSensors(settings);
  const state = join(here, "state");
  mkdirSync(state, { mode: 0o700 });
  const agent = [join(DIST, "fleet-agent"), "--config", config, "--state-dir", state];
  const pid1 = await Pid1.start(INITS[init](agent, here), { env: outside.environment });
  const running = { ...settings, pid1, [Symbol.asyncDispose]: () => pid1[Symbol.asyncDispose]() };
  const endless = settings.sensors.filter((sensor) => sensor !== "brief");
  await until(`frames of ${node}`, () =>
    endless.every((sensor) => frames(running, sensor).length >= FRAMES_MIN),
  );
  await until(`${node} is LIVE`, async () => (await outside.node(node))?.state === "LIVE");
  return running;
}

function frames({ node, first }: Running, sensor: string): readonly number[] {
  return outside
    .frames(`${node}.${sensor}`)
    .filter((n): n is number => n !== undefined && n > first && n < first + NUMBERS_PER_RUN)
    .map((n) => n - first);
}

/** Stops it as a runtime does: the signal, then SIGKILL after the grace. Returns the exit code. */
async function stop({ pid1 }: Running, signal: number): Promise<number> {
  const kill = setTimeout(() => pid1.kill(SIGKILL), GRACE_MS);
  pid1.kill(signal);
  const code = await pid1.exited;
  clearTimeout(kill);
  return code;
}

/** The number of the last frame that the sensor reports to have written. */
function lastOf({ dir: here, first }: Running, sensor: string): number {
  return Number(readFileSync(join(here, `last-${sensor}`), "utf8")) - first;
}

/** Makes the agent reload its config, in the way of this init: s6 handles SIGHUP itself. */
function hup({ pid1, dir: here }: Running, init: Init): void {
  if (init !== "s6") return void pid1.kill(constants.signals.SIGHUP);
  const scan = readdirSync(here).find((name) => name.startsWith("scan-"))!;
  expect(Bun.spawnSync(["s6-svc", "-h", join(here, scan, "program")]).exitCode).toBe(0);
}

function zombies({ pid1 }: Running): readonly number[] {
  return pid1.processes().flatMap(({ pid, state }) => (state === "Z" ? [pid] : []));
}

/** The exit code of each init after a stop signal. s6 passes no signal on; it always sends SIGTERM. */
const STOPS: Readonly<Partial<Record<Init, readonly (readonly [NodeJS.Signals, number])[]>>> = {
  ours: [
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGQUIT", 131],
    ["SIGUSR1", 138],
    ["SIGWINCH", 156],
  ],
  tini: [
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGQUIT", 131],
  ],
  "dumb-init": [
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGQUIT", 131],
  ],
  s6: [
    ["SIGTERM", 143],
    ["SIGINT", 143],
    ["SIGQUIT", 143],
  ],
};

describe.skipIf(isSkipped).each(Object.keys(STOPS) as Init[])("the agent under %s", (init) => {
  test("leaves no zombie of sensors whose daemons end all the time, and mistakes no exit (A12)", async () => {
    await using running = await start(init, { sensors: ["stubborn", "brief"] });
    const before = zombies(running);
    const count = frames(running, "stubborn").length;
    await until("more frames", () => frames(running, "stubborn").length >= count + FRAMES_MIN);
    await until("the brief one again", () => frames(running, "brief").length >= BRIEF_RUNS_MIN);
    const after = zombies(running);
    expect(before.filter((pid) => after.includes(pid))).toEqual([]);

    await stop(running, SIGTERM);
    const lines = (await running.pid1.err).split("\n");
    const ends = lines.filter((line) => /"sensor":"brief".*"msg":"sensor ended"/.test(line));
    expect(ends.length).toBeGreaterThanOrEqual(BRIEF_RUNS_MIN - 1);
    expect(ends.filter((line) => !line.includes(`"exit_code":${BRIEF_CODE},`))).toEqual([]);
  });

  test.each(STOPS[init]!)(
    "stops in order within the grace period at a %s, and exits with %i (A8, A12)",
    async (signal, code) => {
      await using running = await start(init);
      const inside = running.pid1.processes();
      expect(await stop(running, constants.signals[signal])).toBe(code);
      expect((await outside.node(running.node))?.state).toBe("SHUTDOWN");
      const numbers = frames(running, "orderly");
      expect(numbers).toEqual(numbers.map((_number, i) => i + 1));
      expect(numbers.length).toBe(lastOf(running, "orderly"));
      expect(inside.filter(isAlive)).toEqual([]);
    },
  );

  test("ends with all that is left when the agent is killed (A12)", async () => {
    await using running = await start(init);
    const inside = running.pid1.processes();
    const agent = inside.find(({ name }) => name === "fleet-agent");
    running.pid1.kill(SIGKILL, agent!.pid);
    expect(await running.pid1.exited).toBe(128 + SIGKILL);
    expect(inside.filter(isAlive)).toEqual([]);
  });

  test("reads its config again at a HUP, and leaves alone what has not changed (A12)", async () => {
    await using running = await start(init);
    writeSensors({ ...running, sensors: ["orderly", "added"] });
    hup(running, init);
    await until("frames of the new one", () => frames(running, "added").length >= FRAMES_MIN);
    const count = frames(running, "orderly").length;
    await until("more frames", () => frames(running, "orderly").length >= count + FRAMES_MIN);
    const isThere = () => running.pid1.processes().some(({ name }) => name === "stubborn.sh");
    await until("no process of the one that was removed", () => !isThere());

    expect(await stop(running, SIGTERM)).toBe(128 + SIGTERM);
    for (const sensor of ["orderly", "added"]) {
      const numbers = frames(running, sensor);
      expect(numbers).toEqual(numbers.map((_number, i) => i + 1));
      expect(numbers.length).toBe(lastOf(running, sensor));
    }
  });
});

describe.skipIf(isSkipped)("a stop of the agent as PID 1", () => {
  test("is done within the grace period though a sensor could take longer (A8, A12)", async () => {
    await using running = await start("ours", { stopGrace: "60s" });
    const inside = running.pid1.processes();
    expect(await stop(running, SIGTERM)).toBe(128 + SIGTERM);
    expect(inside.filter(isAlive)).toEqual([]);
    expect(frames(running, "orderly").length).toBe(lastOf(running, "orderly"));
    expect((await outside.node(running.node))?.state).toBe("SHUTDOWN");
  });

  test("is not held up by a config that is being read again (A8, A12)", async () => {
    await using running = await start("ours");
    writeSensors({ ...running, sensors: ["orderly", "added"] });
    hup(running, "ours");
    expect(await stop(running, SIGTERM)).toBe(128 + SIGTERM);
    expect(frames(running, "orderly").length).toBe(lastOf(running, "orderly"));
    expect((await outside.node(running.node))?.state).toBe("SHUTDOWN");
  });
});
