import { afterEach, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StreamId } from "@fleet/protocol";
import { processIdentity } from "@fleet/supervisor";
import { streamId, tempDir, until } from "../testing.ts";
import { endRigs, Rig, STREAM } from "./testing.ts";

const MAIN = join(import.meta.dirname, "..", "main.ts");
const SCRIPT = join(import.meta.dirname, "../../test/rig/light-tracker.ts");
const PUSH = "push";
const ENV = {
  PATH: process.env["PATH"] ?? "",
  FLEET_ENROLL_TOKEN: "enroll",
  FLEET_OPERATOR_TOKEN: "operator",
  FLEET_PUSH_TOKEN: PUSH,
};

interface Running {
  readonly child: Bun.Subprocess<"ignore", "ignore", "pipe">;
  readonly framesPort: number;
}

async function serve(dir: string): Promise<Running> {
  const any = ["--http", "127.0.0.1:0", "--frames", "127.0.0.1:0"];
  const child = Bun.spawn(
    [process.execPath, MAIN, "serve", "--config", join(dir, "c.yaml"), "--data-dir", dir, ...any],
    { env: ENV, stdin: "ignore", stdout: "ignore", stderr: "pipe" },
  );
  let text = "";
  const decoder = new TextDecoder();
  const reader = child.stderr.getReader();
  for (;;) {
    const port = /"frames_port":(\d+).*"msg":"ready"/.exec(text)?.[1];
    if (port !== undefined) return { child, framesPort: Number(port) };
    const { done, value } = await reader.read();
    if (done) throw new Error(text);
    text += decoder.decode(value);
  }
}

async function sendFrame(port: number, n: number): Promise<void> {
  const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
  const frame = { timestamp: n, delay: [], doppler: [], snr: [] };
  socket.write(`${JSON.stringify({ node_id: "hill", token: PUSH, ...frame })}\n`);
}

function isAlive(pid: number): boolean {
  return processIdentity(pid) !== undefined;
}

test("the next coordinator ends the trackers of a killed one, restores their leases and continues with the next run (T3, T5)", async () => {
  using dir = tempDir();
  const notes = join(dir.path, "notes");
  writeFileSync(notes, "");
  writeFileSync(
    join(dir.path, "c.yaml"),
    `tracker: { command: ${JSON.stringify([process.execPath, SCRIPT, "{port}", notes])} }\n`,
  );
  const noted = (): string[] => readFileSync(notes, "utf8").split("\n");
  const pids = (): number[] =>
    noted()
      .filter((l) => l.startsWith("start "))
      .map((l) => Number(l.slice(6)));
  const first = await serve(dir.path);
  await sendFrame(first.framesPort, 1);
  await until(() => noted().some((l) => l.includes(`"timestamp":1`)));
  const [orphan] = pids() as [number];
  first.child.kill("SIGKILL");
  await first.child.exited;
  expect(isAlive(orphan)).toBe(true);

  const second = await serve(dir.path);
  expect(isAlive(orphan)).toBe(false);
  await sendFrame(second.framesPort, 2);
  await until(() => noted().some((l) => l.includes(`"timestamp":2`)));
  expect(pids()).toHaveLength(2);
  second.child.kill("SIGTERM");
  expect(await second.child.exited).toBe(143);
  expect(isAlive(pids()[1]!)).toBe(false);
  const tracks = join(dir.path, "tracks", "hill");
  const written = await Array.fromAsync(
    new Bun.Glob("*.jsonl").scan({ cwd: tracks, absolute: true }),
  );
  const runs = written.flatMap((path) =>
    readFileSync(path, "utf8")
      .split("\n")
      .filter((l) => l !== "")
      .map((l) => (JSON.parse(l) as { run: number }).run),
  );
  expect(runs.at(-1)).toBe(2);
});

describe("a tracker that a killed coordinator left (T5)", () => {
  const strangers: Bun.Subprocess[] = [];
  afterEach(async () => {
    for (const { pid, exited } of strangers.splice(0)) {
      if (isAlive(pid)) process.kill(-pid, "SIGKILL");
      await exited;
    }
    await endRigs();
  });

  /** A running process in its own group that ignores TERM. */
  async function stubborn(): Promise<Bun.Subprocess> {
    const child = Bun.spawn(["sh", "-c", `trap "" TERM; echo up; while :; do sleep 1000; done`], {
      detached: true,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
    });
    strangers.push(child);
    await child.stdout.getReader().read();
    return child;
  }

  test("is ended together with all others: thirty that ignore TERM cost one grace period", async () => {
    const left = await Promise.all(Array.from({ length: 30 }, stubborn));
    const rig = new Rig();
    rig.leaveRows(
      ...left.map(({ pid }, n) => {
        const { startTicks: pidStart, bootId } = processIdentity(pid)!;
        return { streamId: `s${n}`, pid, pidStart, bootId };
      }),
    );
    // One after another they would exceed the timeout of this test.
    await rig.manager.start();
    expect(left.filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(rig.log.lines.filter((l) => l.fields["outcome"] === "ended")).toHaveLength(30);
    expect(rig.row("s29")).toMatchObject({ pid: null, pidStart: null, bootId: null });
  });

  test("is found by its command line and port when no row names it, unless another coordinator owns it", async () => {
    const rig = new Rig();
    const argv = (port: number, stream: string): string[] => [
      process.execPath,
      SCRIPT,
      String(port),
      join(rig.dir.path, `${stream}.log`),
      "",
    ];
    const [port, minded] = [rig.firstPort, streamId("minded")];
    // Its parent exits at once.
    Bun.spawnSync(["sh", "-c", `setsid "$@" >/dev/null 2>&1 &`, "sh", ...argv(port, STREAM)]);
    strangers.push(
      Bun.spawn(argv(port + 1, minded), { detached: true, stdin: "ignore", stdout: "ignore" }),
    );
    const pidOf = (stream: StreamId): number =>
      Number(rig.recorded(stream)[0]?.replace("start ", "") ?? 0);
    await until(() => pidOf(STREAM) > 0 && pidOf(minded) > 0);
    await rig.manager.start();
    expect([isAlive(pidOf(STREAM)), isAlive(pidOf(minded))]).toEqual([false, true]);
    expect(rig.log.count("unrecorded tracker of an earlier coordinator ended")).toBe(1);
  });

  test("is not confused with another process that has its pid, nor ended when its row is incomplete", async () => {
    const { pid } = await stubborn();
    const { startTicks: pidStart, bootId } = processIdentity(pid)!;
    const rig = new Rig();
    rig.leaveRows(
      { streamId: "reused", pid, pidStart: pidStart - 1, bootId },
      { streamId: "rebooted", pid, pidStart, bootId: "00000000-0000-0000-0000-000000000000" },
      { streamId: "half", pid, pidStart: null, bootId: null },
    );
    await rig.manager.start();
    expect(isAlive(pid)).toBe(true);
    for (const stream of ["reused", "rebooted", "half"]) expect(rig.row(stream)?.pid).toBeNull();
  });
});
