/**
 * The built agent as PID 1 of a container, and under tini, dumb-init and s6: whoever is PID 1, sensors' orphans are reaped, and
 * a stop is in order, within the time a runtime gives it, with everything delivered. (A8, A12)
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { type Init, INITS, isAlive, Pid1, whyNoInits } from "@fleet/static-elf/testing";
import { Outside } from "../roots/outside.ts";
import { until } from "../roots/root.ts";
import { writeSensors } from "./sensors.ts";

const DIST = join(import.meta.dir, "../../../../dist");
/** What Docker waits before it kills. */
const GRACE_MS = 10_000;
const FRAMES_MIN = 20;
const NUMBERS_PER_RUN = 100_000;
const { SIGKILL } = constants.signals;

const missing = [
  whyNoInits(),
  existsSync(join(DIST, "fleet-agent")) ? undefined : "dist/fleet-agent",
]
  .filter((what) => what !== undefined)
  .join("; ");
const isSkipped = missing !== "" && process.env["CI"] !== "true";
if (isSkipped) console.warn(`the agent as PID 1: skipped, missing: ${missing}`);

/** One agent that registers, and whose sensors' frames have arrived. */
interface Running extends AsyncDisposable {
  readonly pid1: Pid1;
  readonly node: string;
  /** Where the orderly sensor writes the number of its last frame. */
  readonly last: string;
  readonly first: number;
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

/** Starts one whose node is named for its init; frames of the runs of one node differ by their numbers. */
async function start(init: Init): Promise<Running> {
  const node = `under-${init.replaceAll(/\W+/g, "-")}`;
  const first = ++runs * NUMBERS_PER_RUN;
  const here = join(dir, String(runs));
  mkdirSync(here);
  const config = writeSensors(here, node, first);
  const state = join(here, "state");
  mkdirSync(state, { mode: 0o700 });
  const agent = [join(DIST, "fleet-agent"), "--config", config, "--state-dir", state];
  const pid1 = await Pid1.start(INITS[init](agent, here), { env: outside.environment });
  const running = {
    pid1,
    node,
    last: join(here, "last"),
    first,
    [Symbol.asyncDispose]: () => pid1[Symbol.asyncDispose](),
  };
  for (const sensor of ["orderly", "stubborn"])
    await until(`frames of ${node}.${sensor}`, () => frames(running, sensor).length >= FRAMES_MIN);
  await until(`${node} is LIVE`, async () => (await outside.node(node))?.state === "LIVE");
  return running;
}

function frames({ node, first }: Running, sensor: string): readonly number[] {
  return outside
    .frames(`${node}.${sensor}`)
    .filter((n): n is number => n !== undefined && n > first && n < first + NUMBERS_PER_RUN)
    .map((n) => n - first);
}

/** Stops it as a runtime does: the signal, and KILL for what is there when the grace has passed. Gives the exit code. */
async function stop({ pid1 }: Running, signal: number): Promise<number> {
  const kill = setTimeout(() => pid1.kill(SIGKILL), GRACE_MS);
  pid1.kill(signal);
  const code = await pid1.exited;
  clearTimeout(kill);
  return code;
}

function zombies({ pid1 }: Running): readonly number[] {
  return pid1.processes().flatMap(({ pid, state }) => (state === "Z" ? [pid] : []));
}

/** What each init makes of signals that ask for a stop: the exit code. s6 passes none on, it sends TERM whatever it is sent. */
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
  test("leaves no zombie of sensors whose daemons end all the time (A12)", async () => {
    await using running = await start(init);
    const before = zombies(running);
    const count = frames(running, "stubborn").length;
    await until("more frames", () => frames(running, "stubborn").length >= count + FRAMES_MIN);
    const after = zombies(running);
    expect(before.filter((pid) => after.includes(pid))).toEqual([]);
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
      expect(numbers.length).toBe(Number(readFileSync(running.last, "utf8")) - running.first);
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
});
