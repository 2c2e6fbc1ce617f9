/** The tests that must pass in every kind of root, for one processor. */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { ImageReport, ResolvedRuntimes } from "@fleet/runtimes";
import { CWD, hostileEnvironment } from "./hostile.ts";
import { type Kind, KINDS } from "./kinds.ts";
import type { Machine } from "./machine.ts";
import { ENROLL_TOKEN } from "./outside.ts";
import { AGENT, type EnterOptions, NOBODY, type Root } from "./root.ts";
import { type Surroundings, useSurroundings, WITNESSED } from "./surroundings.ts";

const FRAMES_MIN = 10;
/** Not stored if the image has just been changed. */
const DETECTION = "state/detection.json";
const PACKAGE = join(import.meta.dir, "../../../../package.json");
const { version: VERSION } = JSON.parse(readFileSync(PACKAGE, "utf8")) as { version: string };

/** Defines the tests for all kinds of roots. */
export function testMatrix(machine: Machine): void {
  const surroundings = useSurroundings(machine);
  const kinds = KINDS.filter(({ isNativeOnly }) => !isNativeOnly || machine.emulator === undefined);
  describe.each(kinds.map((kind) => [kind.about, kind] as const))("in %s", (_about, kind) => {
    testKind(kind, surroundings);
  });
}

function testKind(kind: Kind, surroundings: Surroundings): void {
  const { stock } = surroundings;
  let root: Root;
  let hostile: EnterOptions;
  beforeAll(() => {
    root = surroundings.make(kind);
    hostile = { cwd: CWD, env: hostileEnvironment(surroundings.trap().url) };
  });

  test("it says its version and nothing else, whatever the image wants", async () => {
    const plain = root.agent(["--version"], hostile);
    const json = root.agent(["--version", "--json"], hostile);
    expect([await plain.exit(), plain.err(), plain.out()]).toEqual([0, "", `${VERSION}\n`]);
    expect([await json.exit(), json.err()]).toEqual([0, ""]);
    expect(JSON.parse(json.out())).toMatchObject({
      version: VERSION,
      arch: stock.processor.bunArch,
      libc: expect.stringContaining("GLIBC") as string,
    });
  });

  test("it finds what is there", async () => {
    const run = root.agent(["--detect-only", "--json"], hostile);
    expect([await run.exit(), run.err()]).toEqual([0, ""]);
    const report = JSON.parse(run.out()) as ImageReport & { resolved: ResolvedRuntimes };
    kind.check(report, stock);
    const working = report.interpreters.filter(({ verdict }) => verdict === "ok");
    expect(report.resolved.runtimes).toEqual(working.map(({ name }) => name));
    expect([report.image.uid, report.image.gid]).toEqual([NOBODY, NOBODY]);
    expect(report.image.path).toBe(hostile.env!["PATH"]!);
  });

  test("it registers, its sensors' frames arrive in order, and it leaves nothing behind", async () => {
    const outside = surroundings.outside();
    const sensors = [
      { name: "native", runtime: "native", command: [...root.runner, "/sensor", "/state/env"] },
      ...(kind.sensor === undefined ? [] : [{ name: "script", ...kind.sensor }]),
    ];
    const config = { node: { name: kind.name }, runtimes: ["auto", "native"], sensors };
    root.file("/agent.yaml", JSON.stringify(config));
    const before = root.list();
    const env = { ...hostile.env, ...outside.environment };
    const agent = root.agent(["--config", "/agent.yaml", "--state-dir", "/state"], {
      ...hostile,
      env,
    });
    await agent.until("LIVE", async () => (await outside.node(kind.name))?.state === "LIVE");
    for (const { name } of sensors) {
      const stream = `${kind.name}.${name}`;
      await agent.until(`frames of ${stream}`, () => outside.frames(stream).length >= FRAMES_MIN);
    }
    expectPowerless(agent.pid);

    agent.kill("SIGTERM");
    expect(await agent.exit()).toBe(143);
    expect((await outside.node(kind.name))?.state).toBe("SHUTDOWN");
    for (const { name } of sensors) {
      const numbers = outside.frames(`${kind.name}.${name}`);
      expect(numbers).toEqual(numbers.map((_, i) => i + 1));
    }
    expectOwnEnvironment(root.read("/state/env"), env);
    expectWitnessed(root, kind.witnessed);
    expect(root.processes()).toEqual([]);
    const made = root.list().filter((path) => !before.includes(path) && path !== DETECTION);
    const logs = sensors.map(({ name }) => `state/logs/${name}.log`);
    // All frames are acknowledged, so that only the manifest of a spool remains.
    const spools = sensors.flatMap(({ name }) => [
      `state/spool/${name}`,
      `state/spool/${name}/spool.state`,
    ]);
    const own = ["state/agent.lock", "state/identity.json", "state/processes.json"];
    const files = ["state/env", ...own, ...logs, ...spools];
    expect(made).toEqual(["state/logs", "state/spool", ...files].toSorted());
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(root.dir);
    expect(surroundings.trap().visitors).toBe(0);
  });
}

/** Checks that the library which the image preloads can be loaded by its programs, and that the agent did not load it. */
function expectWitnessed(root: Root, by: string | undefined): void {
  const names = root.read(WITNESSED).split("\n").filter(Boolean);
  if (by === undefined) expect(names).toEqual([]);
  else expect(names).toContain(by);
  expect(names).not.toContain(basename(AGENT));
}

/** Checks that the process is nobody, without capabilities and without a way to gain any. */
function expectPowerless(pid: number): void {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:\\s*(.+)$`, "m").exec(status)?.[1];
  expect(field("Uid")).toBe([NOBODY, NOBODY, NOBODY, NOBODY].join("\t"));
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
    expect([set, field(set)]).toEqual([set, "0".repeat(16)]);
  expect(field("NoNewPrivs")).toBe("1");
}

/** The image's variables, unchanged, without the agent's secrets. (A10) */
function expectOwnEnvironment(seen: string, given: Readonly<Record<string, string>>): void {
  const lines = seen.split("\n");
  for (const [name, value] of Object.entries(given))
    if (!name.startsWith("FLEET_")) expect(lines).toContain(`${name}=${value}`);
  expect(seen).not.toContain(ENROLL_TOKEN);
}
