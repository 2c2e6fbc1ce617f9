/**
 * Runs what the README and docs/sensors.md tell a new user to write: their sensors, under their config files, with a
 * coordinator. The doctor's report in docs/doctor.md is compared with a real one.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { ENROLL_TOKEN, Fleet, recordingTracker, until } from "./rig/fleet.ts";

const LINES_MAX = 14;

function read(path: string): string {
  return readFileSync(join(import.meta.dir, "../../..", path), "utf8");
}

/** The texts of a page's fenced blocks, in their order. */
function blocksOf(page: string): readonly string[] {
  return [...read(page).matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, text = ""]) => text);
}

/** By name: the README's here-documents, and the blocks of docs/sensors.md whose first line is a comment with a file name. */
const files = new Map<string, string>();
for (const [, name = "", text = ""] of read("README.md").matchAll(
  /^cat > (\S+) <<'EOF'\n(.*?)^EOF$/gms,
))
  files.set(name, text);
for (const text of blocksOf("docs/sensors.md")) {
  const name = /^(?:#|\/\/) ([a-z]+\.(?:py|js|sh|yaml))\b/.exec(text)?.[1];
  if (name !== undefined) files.set(name, text);
}

const SENSORS = [
  { stream: "hill.radar", file: "radar.py", program: "python3", frames: 3 },
  { stream: "coast.mast", file: "mast.js", program: "node", frames: 3 },
  { stream: "coast.buoy", file: "buoy.sh", program: "sh", frames: 3 },
  { stream: "coast.sweep", file: "sweep.sh", program: "sh", frames: 1 },
] as const;
const BUSYBOX_APPLETS = ["sh", "date", "sleep"];

/** Reports whether a program is missing here, and says why its test is skipped. In CI the tests always run. */
function isMissing(program: string): boolean {
  if (Bun.which(program) !== null || process.env["CI"] !== undefined) return false;
  console.log(`skipped the tutorial's use of ${program}: not installed`);
  return true;
}

let fleet: Fleet;

beforeAll(async () => {
  fleet = new Fleet();
  const command = recordingTracker(join(fleet.dir, "{stream}"));
  await fleet.coordinator({ tracker: { command, stop_grace: "1s" } });
  for (const [name, text] of files) fleet.write(name, text);
  fleet.write("secrets/enroll_token", ENROLL_TOKEN);
  startAgent("agent.yaml");
  startAgent("coast.yaml");
});

afterAll(() => fleet.close());

/** Starts an agent as the pages do, except for the coordinator's port. */
function startAgent(config: string, env: Record<string, string> = {}): void {
  const state = `./state-${env["FLEET_NODE_ID"] ?? config}`;
  fleet.spawn("fleet-agent", ["--config", config, "--state-dir", state], {
    FLEET_COORDINATOR_URL: `http://127.0.0.1:${fleet.ports.http}`,
    ...env,
  });
}

/** Returns the timestamps of the frames of `stream`, once `enough` have reached its tracker. */
async function timestampsAt(stream: string, enough: number): Promise<readonly number[]> {
  const lines = await until(`${enough} frames of ${stream} arrive`, () => {
    const whole = fleet.read(stream).split("\n").slice(0, -1);
    return whole.length >= enough && whole;
  });
  return lines.map((line) => (JSON.parse(line) as { timestamp: number }).timestamp);
}

function expectRising(timestamps: readonly number[]): void {
  expect(timestamps).toEqual([...new Set(timestamps)].toSorted((a, b) => a - b));
}

describe("the tutorial of the README and docs/sensors.md (A11, H10)", () => {
  test("has a sensor in each of python, node and sh, of about ten lines, and their config files", () => {
    expect([...files.keys()].toSorted()).toEqual(
      ["agent.yaml", "coast.yaml", ...SENSORS.map(({ file }) => file)].toSorted(),
    );
    for (const { file } of SENSORS)
      expect(files.get(file)!.trimEnd().split("\n").length).toBeLessThanOrEqual(LINES_MAX);
  });

  for (const { stream, file, program, frames } of SENSORS)
    test.skipIf(isMissing(program))(`${file} runs, and its frames reach the tracker`, async () => {
      expectRising(await timestampsAt(stream, frames));
    });

  test.skipIf(isMissing("busybox"))("buoy.sh runs with nothing but busybox too", async () => {
    const applets = join(fleet.dir, "applets");
    mkdirSync(applets);
    for (const name of BUSYBOX_APPLETS) symlinkSync(Bun.which("busybox")!, join(applets, name));
    startAgent("coast.yaml", { PATH: applets, FLEET_NODE_ID: "boat" });
    expectRising(await timestampsAt("boat.buoy", 3));
    const node = await fleet.node("boat");
    const shell = node?.runtimes.find(({ name }) => name === "shell");
    expect(shell?.path).toBe(join(applets, "sh"));
  });

  test("shows the doctor's real report while the coordinator is down", async () => {
    const shown = blocksOf("docs/doctor.md").find((text) => /^FAIL {2}coordinator/m.test(text))!;
    const run = fleet.spawn(
      "fleet-agent",
      ["doctor", "--config", "agent.yaml", "--state-dir", "./state"],
      { FLEET_COORDINATOR_URL: "http://localhost:1" },
    );
    expect(await run.exit()).toBe(1);
    const report = run.out().split("\n").map(comparable);
    const lines = shown.split("\n").filter((line) => !/^…?$/.test(line));
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) expect(report).toContain(comparable(line));
  });
});

/** Masks what differs between machines: paths, versions, addresses, the state directory. */
function comparable(line: string): string {
  return line
    .replaceAll(/\((?:[\d.]+|::1)\)/g, "(address)")
    .replaceAll(/(?<!:)\/[\w./-]+\//g, "/…/")
    .replaceAll(/\d+/g, "0")
    .replace(/^.{4} {2}state_dir .*/, "state_dir");
}
