/** The built `fleet-agent doctor` beside a real coordinator and a running agent. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { ENROLL_TOKEN, Fleet, PUSH_TOKEN, until } from "./rig/fleet.ts";

interface Check {
  readonly id: string;
  readonly status: "ok" | "warn" | "fail";
  readonly subject?: string;
  readonly message: string;
  readonly remedy?: string;
  readonly data?: Record<string, unknown>;
}

interface Report {
  readonly exit: number;
  readonly ok: boolean;
  readonly checks: readonly Check[];
}

const AGENT = join(import.meta.dir, "../../../dist/fleet-agent");
const NOBODY = 65_534;

let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(() => fleet.close());

async function doctor(args: readonly string[], env: Record<string, string> = {}): Promise<Report> {
  const run = fleet.spawn("fleet-agent", ["doctor", "--json", ...args], env);
  const exit = await run.exit();
  const report = JSON.parse(run.out()) as { schema: number; ok: boolean; checks: Check[] };
  expect(report.schema).toBe(1);
  for (const { status, remedy } of report.checks)
    expect(remedy === undefined).toBe(status === "ok");
  return { exit, ok: report.ok, checks: report.checks };
}

function statuses(report: Report, id: string): string[] {
  return report.checks.filter((check) => check.id === id).map(({ status }) => status);
}

/**
 * Runs the doctor as the user nobody, expects exit code 1, and returns its output. A `root` other than / contains only the
 * agent, /proc and what the test put there. The agent is mounted at a path that nobody can reach, unlike perhaps the original.
 */
async function asNobody(args: readonly string[], root: string): Promise<string> {
  const dir = root === "/" ? fleet.dir : root;
  fleet.write(relative(fleet.dir, join(dir, "fleet-agent")), "");
  const isOwn = root !== "/";
  const steps = [
    ...(isOwn ? ['mount --bind "$1" "$1"', 'mount -t proc proc "$1/proc"'] : []),
    `mount --bind "$3" "$2/fleet-agent"`,
    ...(isOwn ? ['mount -o remount,bind,ro "$1"'] : []),
    `root=$1 agent=${isOwn ? "/" : "$2/"}fleet-agent`,
    "shift 3",
    `exec chroot --userspec=${NOBODY}:${NOBODY} "$root" "$agent" doctor "$@"`,
  ];
  const command = ["unshare", "-m", "sh", "-ec", steps.join("; "), "sh", root, dir, AGENT, ...args];
  const child = Bun.spawn(command, {
    env: { PATH: process.env["PATH"] ?? "" },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([stderr, await child.exited]).toEqual(["", 1]);
  return stdout;
}

const url = (): string => `http://127.0.0.1:${fleet.ports.http}`;

describe("the doctor (A9)", () => {
  test("finds no problem beside a running agent, and does not disturb it", async () => {
    await fleet.coordinator();
    const agent = fleet.agent("hill", {
      node: { name: "hill" },
      sensors: [{ name: "noise", runtime: "shell", command: ["-c", "sleep 1000"] }],
    });
    const before = await fleet.untilState("hill", "LIVE");
    const state = join(fleet.dir, "state-hill");
    const identity = await until("the agent has stored its token", () => {
      const text = fleet.read("state-hill/identity.json");
      return text.includes("refresh_token") && text;
    });
    const report = await doctor(
      ["--config", join(fleet.dir, "hill.yaml"), "--state-dir", state, "--coordinator", url()],
      { FLEET_ENROLL_TOKEN: ENROLL_TOKEN },
    );
    expect(report.checks.filter(({ status }) => status === "fail")).toEqual([]);
    expect([report.exit, report.ok]).toEqual([0, true]);
    for (const id of ["config", "coordinator", "clock", "frames", "sensor"])
      expect(statuses(report, id)).toEqual(["ok"]);
    const tokens = report.checks.filter(({ id }) => id === "token");
    expect(tokens.map(({ subject, data }) => [subject, data?.["used"]])).toEqual([
      ["identity.json", true],
      ["FLEET_ENROLL_TOKEN", false],
    ]);
    expect(agent.process.exitCode).toBeNull();
    const after = await fleet.node("hill");
    expect([after?.epoch, after?.instance_id]).toEqual([before.epoch, before.instance_id]);
    expect(fleet.read("state-hill/identity.json")).toBe(identity);
    expect(readdirSync(state).filter((name) => name.includes("doctor"))).toEqual([]);
  });

  test("reports a token of the wrong kind, a missing runtime and a closed port, and exits with 1", async () => {
    await fleet.coordinator({ advertise_frames: { host: "127.0.0.1", port: 1 } });
    const config = fleet.write(
      "agent.yaml",
      JSON.stringify({
        sensors: [{ name: "a", runtime: "python", requires: ">=99", command: ["x"] }],
      }),
    );
    const report = await doctor(["--config", config, "--state-dir", "s", "--coordinator", url()], {
      FLEET_ENROLL_TOKEN: PUSH_TOKEN,
    });
    expect([report.exit, report.ok]).toEqual([1, false]);
    for (const id of ["token", "frames", "sensor"]) expect(statuses(report, id)).toEqual(["fail"]);
    expect(JSON.stringify(report)).not.toContain(PUSH_TOKEN);
    expect(readdirSync(fleet.dir)).not.toContain("s");
  });

  test("checks the rest, one line each, without a coordinator or a readable config", async () => {
    const args = ["doctor", "--config", "none.yaml", "--coordinator", "http://127.0.0.1:1"];
    const run = fleet.spawn("fleet-agent", args, { HTTP_PROXY: "http://proxy:1" });
    expect(await run.exit()).toBe(1);
    const lines = run.out().trimEnd().split("\n");
    expect(lines.pop()).toMatch(/^\d+ checks: \d+ ok, \d+ warnings?, \d+ failed$/);
    for (const line of lines) expect(line).toMatch(/^(ok {2}|warn|FAIL) {2}[a-z_]+ +\S/);
    expect(run.out()).toContain("FAIL  config       none.yaml: can't be read: ENOENT.");
    expect(run.out()).toContain("refuses the connection; HTTP_PROXY of this image is not used");
    expect(run.out()).not.toContain("\u001B");
    expect(run.log).toEqual([]);
  });

  test("compares clocks even without a token, and says what it cannot check", async () => {
    await fleet.coordinator();
    const closed = await doctor(["--coordinator", url()]);
    expect(statuses(closed, "token")).toEqual(["fail"]);
    expect(statuses(closed, "frames")).toEqual(["warn"]);
    // The coordinator's Date header has the time, in seconds.
    expect(statuses(closed, "clock")).toEqual(["ok"]);
  });

  describe.skipIf(process.getuid?.() !== 0)("as another user", () => {
    test("names the owner of the state directory and its own uid", async () => {
      chmodSync(fleet.dir, 0o755);
      const report = await asNobody(["--state-dir", fleet.dir], "/");
      expect(report).toContain(
        `FAIL  state_dir    ${fleet.dir}: ${fleet.dir} belongs to uid 0 (mode 0755) and can't be written by uid ${NOBODY}.`,
      );
    });

    test("reports what is missing in an empty read-only root (A1)", async () => {
      const root = join(fleet.dir, "root");
      for (const dir of ["proc", "state"]) mkdirSync(join(root, dir), { recursive: true });
      const args = ["--coordinator", "http://127.0.0.1:1", "--state-dir", "/state"];
      const report = await asNobody(args, root);
      expect(report).toContain("ok    config       no file, only flags and variables; 0 sensors");
      expect(report).toContain("FAIL  coordinator  http://127.0.0.1:1: 127.0.0.1 port 1 refuses");
      expect(report).toMatch(
        /^FAIL {2}state_dir {4}\/state: \/state (belongs to uid 0|is on a read-only)/m,
      );
      expect(report).toContain("warn  runtimes     none for sensors");
      expect(report).toMatch(/ [1-9] failed\n$/);
    });
  });

  test("refuses an unknown flag", async () => {
    const run = fleet.spawn("fleet-agent", ["doctor", "--jsno"]);
    expect(await run.exit()).toBe(64);
    expect(run.log.join("\n")).toContain("--jsno");
  });
});
