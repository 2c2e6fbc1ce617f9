/** The README's tutorial, taken from the README and done: its sensors, under its agent.yaml, with a coordinator. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { ENROLL_TOKEN, Fleet, until } from "./harness.ts";

const README = readFileSync(join(import.meta.dir, "../../../README.md"), "utf8");
const LINES_MAX = 14;

interface Block {
  readonly language: string;
  readonly text: string;
}

/** The fenced blocks in their order. */
const blocks: readonly Block[] = [...README.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
  ([, language = "", text = ""]) => ({ language, text }),
);

/** Those whose first line is a comment that names their file. */
const files = new Map<string, Block>();
for (const block of blocks) {
  const name = /^(?:#|\/\/) ([a-z]+\.(?:py|js|sh|yaml))\b/.exec(block.text)?.[1];
  if (name !== undefined) files.set(name, block);
}

const SENSORS = [
  { sensor: "radar", file: "radar.py", program: "python3", frames: 3 },
  { sensor: "mast", file: "mast.js", program: "node", frames: 3 },
  { sensor: "buoy", file: "buoy.sh", program: "sh", frames: 3 },
  { sensor: "sweep", file: "sweep.sh", program: "sh", frames: 1 },
] as const;
const BUSYBOX_APPLETS = ["sh", "date", "sleep"];

/** In CI nothing is missing; elsewhere a test that can't be run says why. */
function lacks(program: string): boolean {
  if (Bun.which(program) !== null || process.env["CI"] !== undefined) return false;
  console.log(`no ${program} here: what the README does with it is not tried`);
  return true;
}

let fleet: Fleet;

beforeAll(async () => {
  fleet = new Fleet();
  const tracker = join(import.meta.dir, "recording-tracker.ts");
  const command = [process.execPath, tracker, "{port}", join(fleet.dir, "{stream}")];
  await fleet.coordinator({ tracker: { command, stop_grace: "1s" } });
  for (const [name, { text }] of files) fleet.write(name, text);
  startAgent("hill", process.env["PATH"] ?? "");
});

afterAll(() => fleet.close());

/** As the README does it; only the coordinator's port is another. */
function startAgent(node: string, path: string): void {
  fleet.spawn("fleet-agent", ["--config", "agent.yaml", "--state-dir", `./state-${node}`], {
    PATH: path,
    FLEET_COORDINATOR_URL: `http://127.0.0.1:${fleet.ports.http}`,
    FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
    ...(node === "hill" ? {} : { FLEET_NODE_ID: node }),
  });
}

/** Timestamps of the frames that made it to the tracker of `stream`, once there are enough. */
async function timestampsAt(stream: string, enough: number): Promise<readonly number[]> {
  const lines = await until(`${enough} frames of ${stream}`, () => {
    const whole = fleet.read(stream).split("\n").slice(0, -1);
    return whole.length >= enough && whole;
  });
  return lines.map((line) => (JSON.parse(line) as { timestamp: number }).timestamp);
}

function expectRising(timestamps: readonly number[]): void {
  expect(timestamps).toEqual([...new Set(timestamps)].toSorted((a, b) => a - b));
}

describe("the README's tutorial (A11, H10)", () => {
  test("has a sensor in each of python, node and sh, of about ten lines, and an agent.yaml", () => {
    expect([...files.keys()].toSorted()).toEqual(
      expect.arrayContaining(["agent.yaml", ...SENSORS.map(({ file }) => file)]) as string[],
    );
    for (const { file } of SENSORS)
      expect(files.get(file)!.text.trimEnd().split("\n").length).toBeLessThanOrEqual(LINES_MAX);
  });

  for (const { sensor, file, program, frames } of SENSORS)
    test.skipIf(lacks(program))(`${file} runs, and its frames make it to the tracker`, async () => {
      expectRising(await timestampsAt(`hill.${sensor}`, frames));
    });

  test.skipIf(lacks("busybox"))("buoy.sh runs with nothing but busybox too", async () => {
    const applets = join(fleet.dir, "applets");
    mkdirSync(applets);
    for (const name of BUSYBOX_APPLETS) symlinkSync(Bun.which("busybox")!, join(applets, name));
    startAgent("boat", applets);
    expectRising(await timestampsAt("boat.buoy", 3));
    const node = await fleet.node("boat");
    const shell = node?.runtimes.find(({ name }) => name === "shell");
    expect(shell?.path).toBe(join(applets, "sh"));
  });

  test("shows what the doctor really says while the coordinator is down", async () => {
    const shown = blocks.find(({ text }) => /^FAIL {2}coordinator/m.test(text))!.text;
    const run = fleet.spawn(
      "fleet-agent",
      ["doctor", "--config", "agent.yaml", "--state-dir", "./state"],
      { FLEET_COORDINATOR_URL: "http://localhost:1", FLEET_ENROLL_TOKEN: ENROLL_TOKEN },
    );
    expect(await run.exit()).toBe(1);
    const said = run.out().split("\n").map(comparable);
    const lines = shown.split("\n").filter((line) => !/^…?$/.test(line));
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) expect(said).toContain(comparable(line));
  });
});

/** What differs from machine to machine is left out: paths, versions, addresses, where temporary files lie. */
function comparable(line: string): string {
  return line
    .replaceAll(/\((?:[\d.]+|::1)\)/g, "(address)")
    .replaceAll(/(?<!:)\/[\w./-]+\//g, "/…/")
    .replaceAll(/\d+/g, "0")
    .replace(/^.{4} {2}state_dir .*/, "state_dir");
}
