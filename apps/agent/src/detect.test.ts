import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@fleet/daemon";
import { formatDetection, startDetection } from "./detect.ts";

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

function detect(env: Record<string, string>, yaml?: string, names: string[] = []) {
  const config = join(dir, "agent.yaml");
  if (yaml !== undefined) writeFileSync(config, yaml);
  const flags = yaml === undefined ? {} : { config };
  const interpreters = names.map((name) => ({ name, candidates: [name] }));
  const detecting = startDetection(flags, { PATH: dir, ...env }, systemClock);
  return detecting.finish({ runtimes: ["auto", "native"], interpreters });
}

test("what is found on the image's path is offered, beside what the config names", async () => {
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

test("FLEET_AGENT_RUNTIMES decides over config and detection", async () => {
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

test("the report is text for people or one JSON document", async () => {
  program("python3", "Python 3.12.1");
  const detection = await detect({});
  const json = JSON.parse(formatDetection(detection, true)) as Record<string, unknown>;
  expect(json).toMatchObject({ schema: 1, resolved: { tier: "config" } });
  const text = formatDetection(detection, false);
  expect(text).toContain("3.12.1");
  expect(text).toMatch(/^Runtimes for sensors: .*python.*native \(from the config file\)$/m);
});
