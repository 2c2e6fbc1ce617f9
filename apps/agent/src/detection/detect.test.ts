import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@fleet/daemon";
import { explainDetection, formatDetection, startDetection } from "./detect.ts";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "detect-"));
});

afterEach(() => rmSync(dir, { recursive: true }));

function program(name: string, output: string): void {
  const path = join(dir, name);
  writeFileSync(path, `#!/bin/sh\necho '${output}'\n`);
  chmodSync(path, 0o755);
}

function detect(
  env: Record<string, string>,
  yaml?: string,
  names: string[] = [],
  runtimes: string[] | undefined = ["auto", "native"],
) {
  const config = join(dir, "agent.yaml");
  if (yaml !== undefined) writeFileSync(config, yaml);
  const flags = { stateDir: join(dir, "state"), ...(yaml === undefined ? {} : { config }) };
  const interpreters = names.map((name) => ({ name, candidates: [name] }));
  const detecting = startDetection(flags, { PATH: dir, ...env }, systemClock);
  return detecting.finish({ runtimes, interpreters });
}

test("A4, A6: interpreters on the image's path are enabled, besides those that the config adds", async () => {
  program("python3", "Python 3.12.1");
  const { report, resolved } = await detect({});
  expect(report.interpreters.find(({ name }) => name === "python")).toMatchObject({
    verdict: "ok",
    path: join(dir, "python3"),
    version: "3.12.1",
  });
  expect(resolved.tier).toBe("config");
  expect(resolved.runtimes).toContain("python");
  expect(resolved.runtimes.at(-1)).toBe("native");
});

test("A5: FLEET_AGENT_RUNTIMES decides over config and detection", async () => {
  program("python3", "Python 3.12.1");
  const { resolved } = await detect({ FLEET_AGENT_RUNTIMES: "nodejs,cobol" });
  expect([resolved.tier, resolved.runtimes]).toEqual(["override", ["node", "cobol"]]);
});

test("an interpreter that the config file adds is found too", async () => {
  program("julia", "julia version 1.11.2");
  const yaml = "interpreters: [{ name: julia, candidates: [julia] }]";
  const { report } = await detect({}, yaml, ["julia"]);
  expect(report.interpreters.find(({ name }) => name === "julia")).toMatchObject({
    version: "1.11.2",
  });
});

test("A7: the report is text for people or one JSON document", async () => {
  program("python3", "Python 3.12.1");
  const detection = await detect({});
  const json = JSON.parse(formatDetection(detection, true)) as Record<string, unknown>;
  expect(json).toMatchObject({ schema: 1, resolved: { tier: "config" } });
  const text = formatDetection(detection, false);
  expect(text).toContain("3.12.1");
  expect(text).toMatch(/^Runtimes for sensors: .*python.*native \(from the config file\)$/m);
});

test("A7: the verdict on a runtime is explained under any of its names, with the tier that decided", async () => {
  program("python3", "Python 3.12.1");
  const text = (explanation: ReturnType<typeof explainDetection>): string =>
    explanation.at === "explained" ? explanation.text : explanation.message;
  const byConfig = await detect({});
  expect(text(explainDetection(byConfig, "py"))).toMatch(/^python: works: cpython 3\.12\.1 at /);
  expect(text(explainDetection(byConfig, "py"))).toEndWith(
    "Offered to sensors: yes, because the config's runtimes: decides alone\n",
  );
  expect(text(explainDetection(byConfig, "cobol"))).toStartWith('no runtime is called "cobol"');
  const byVariable = await detect({ FLEET_AGENT_RUNTIMES: "node,cobol" });
  expect(text(explainDetection(byVariable, "python"))).toEndWith(
    "Offered to sensors: no, because FLEET_AGENT_RUNTIMES decides alone\n",
  );
  const added = await detect({}, "interpreters: []", ["julia"]);
  expect(text(explainDetection(added, "julia"))).toStartWith("julia: not found in this image");
});

test("A4: the result is cached in the state directory for the next start, unless --fresh ignores it", async () => {
  program("python3", "Python 3.12.1");
  const state = join(dir, "state");
  mkdirSync(state);
  // The files get an old time, because results for fresh files are not cached.
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + 60_000 };
  const look = async (fresh: boolean): Promise<boolean> => {
    const detecting = startDetection({}, { PATH: dir, FLEET_STATE_DIR: state }, clock, { fresh });
    return (await detecting.finish({ runtimes: undefined, interpreters: [] })).report.cached;
  };
  expect([await look(false), await look(false), await look(true), await look(false)]).toEqual([
    false,
    true,
    false,
    true,
  ]);
  expect(existsSync(join(state, "detection.json"))).toBe(true);
});
