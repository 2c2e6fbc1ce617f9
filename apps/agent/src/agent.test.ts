import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, seededRandom, systemClock } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { instanceDigest, nodeIdSchema, type RegisterRequest } from "@fleet/protocol";
import { processIdentity, systemSpawn } from "@fleet/supervisor";
import { Agent } from "./agent.ts";
import type { AgentConfig } from "./config/config.ts";
import type { SensorConfig } from "./config/sensor.ts";
import { startDetection } from "./detection/detect.ts";
import { loadIdentity } from "./state/identity.ts";
import { eventually, FramePort, frameText, freePort, recordingLog, sensorOf } from "./testing.ts";

/** The heartbeats of this node are so late in the interval that no test waits for one. */
const NODE = nodeIdSchema.parse("mast");

let dir: string;
let port: FramePort;
let events: string[];
let registered: RegisterRequest | undefined;
let answer: (path: string) => Response | undefined;
let server: Bun.Server<undefined>;
const agents: Agent[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "agent-"));
  port = new FramePort();
  events = [];
  registered = undefined;
  answer = () => undefined;
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: handle });
});

afterEach(async () => {
  port.stop();
  await server.stop(true);
  await Promise.all(agents.splice(0).map((agent) => agent.stop(systemClock.monotonicMs() + 100)));
  rmSync(dir, { recursive: true });
});

async function handle(request: Request): Promise<Response> {
  const path = new URL(request.url).pathname.split("/").at(-1)!;
  const body: unknown = await request.json();
  events.push(path);
  const given = answer(path);
  if (given !== undefined) return given;
  if (path !== "register")
    return Response.json({ server_time_ms: 1, commands_waiting: 0, reregister: false });
  registered = body as RegisterRequest;
  return Response.json({
    node_id: registered.node_id,
    epoch: 1,
    access_token: "access",
    access_expires_ms: systemClock.nowMs() + 3_600_000,
    refresh_token: "refresh",
    heartbeat_interval_ms: 30_000,
    events_url: "/api/v1/agents/hill/events",
    frames: { host: "127.0.0.1", port: port.port, tls: false },
    protocol: 1,
  });
}

const sensor = (name: string, runtime: string, script: string): SensorConfig =>
  sensorOf({ name, runtime, command: ["-c", script], restart: "never" });

async function startAgent(
  sensors: SensorConfig[],
  clock: Clock = systemClock,
  health?: AgentConfig["health"],
) {
  const env = { PATH: "/usr/bin:/bin" };
  const { log, lines } = recordingLog();
  const config: AgentConfig = {
    coordinatorUrl: `http://127.0.0.1:${server.port}`,
    ca: undefined,
    enrollTokens: [{ at: "value", token: "enroll" }],
    nodeName: undefined,
    group: "radar",
    class: undefined,
    labels: { site: "hill" },
    stateDir: { at: "writable", path: dir },
    runtimes: undefined,
    interpreters: [],
    sensors,
    health,
    spool: { bytesMax: 1 << 20, ageMaxMs: undefined, onFull: "drop_oldest" },
    onSuperseded: "exit",
    stopTimeoutMs: 8000,
    logLevel: "info",
  };
  const detection = await startDetection({}, env, systemClock).finish({
    runtimes: ["shell"],
    interpreters: [],
  });
  const identity = loadIdentity({ name: NODE, stateDir: dir, hostname: "hill", clock, log });
  const seen = { superseded: 0 };
  const agent = new Agent({
    config,
    detection,
    identity,
    env,
    hostname: "hill",
    clock,
    random: seededRandom(1),
    log,
    onSuperseded: () => seen.superseded++,
  });
  agents.push(agent);
  agent.start();
  return { agent, lines, seen, identity, config, detection };
}

const LOOP = `trap 'echo "${frameText(9).replaceAll('"', '\\"')}"; exit 0' TERM; echo '${frameText(1)}'; echo up >&2; while :; do sleep 0.01; done`;

test("registers its properties, the sensors that can run, and the problems of the others", async () => {
  const { lines, identity } = await startAgent([
    sensor("ok", "shell", LOOP),
    sensor("no", "cobol", "x"),
  ]);
  await eventually(() => registered !== undefined);
  expect(registered).toMatchObject({
    node_id: identity.nodeId,
    group: "radar",
    class: "persistent",
    labels: { site: "hill" },
    sensors: [
      { name: "ok", runtime: "shell", mode: "stream" },
      { name: "no", runtime: "cobol", mode: "stream" },
    ],
    platform: { hostname: "hill" },
  });
  expect(registered?.sensors?.map(({ problem }) => problem)).toEqual([
    undefined,
    "needs cobol; the runtimes enabled here are: shell; add cobol to runtimes:, and install cobol in the image",
  ]);
  expect(registered?.runtimes?.map(({ name }) => name)).toEqual(["shell"]);
  expect(lines.find(({ level }) => level === "error")?.message).toContain(
    "sensor no can't run here: needs cobol",
  );
});

test("R2: serves its health at the configured address, and registers its URL", async () => {
  const at = freePort();
  const { agent, lines } = await startAgent([], systemClock, {
    host: "127.0.0.1",
    port: at,
    url: undefined,
  });
  await eventually(() => lines.some(({ message }) => message === "registered"));
  expect(registered?.agent_url).toBe(`http://127.0.0.1:${at}`);
  const ask = async (): Promise<unknown> => (await fetch(`http://127.0.0.1:${at}/health`)).json();
  const instance_sha256 = instanceDigest(registered!.instance_id);
  const said = { node_id: "mast", instance_sha256, version: expect.any(String) as string };
  expect(await ask()).toEqual({ ...said, status: "registered" });
  await agent.stop(systemClock.monotonicMs() + 5000);
  expect(ask()).rejects.toThrow();
});

test("a stop ends the sensors, drains their last frames, deregisters and closes, in this order", async () => {
  const { agent } = await startAgent([sensor("radar", "shell", LOOP)]);
  const peer = await port.accept();
  await peer.line(0);
  peer.welcome(0);
  expect(await peer.line(1)).toMatchObject({ delay: [1.5] });
  const stopped = agent.stop(systemClock.monotonicMs() + 5000);
  expect(agent.stop(0)).toBe(stopped);
  expect(await peer.line(2)).toMatchObject({ delay: [9.5] });
  expect(events).toEqual(["register"]);
  peer.send({ type: "ack", seq: 2 });
  await stopped;
  expect(events).toEqual(["register", "deregister"]);
  await eventually(() => peer.isClosed);
});

test("frames that nobody takes hold the stop up no longer than its part, and are counted", async () => {
  const clock = new FakeClock();
  const { agent, lines } = await startAgent([sensor("radar", "shell", LOOP)], clock);
  const peer = await port.accept();
  await peer.line(0);
  // Its first frame is written, and its trap is set.
  await eventually(() => lines.some(({ fields }) => fields["stderr"] === "up"));
  const stopped = agent.stop(clock.monotonicMs() + 10_000);
  await eventually(() => lines.some(({ message }) => message === "sensor ended"));
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(7999);
  expect(events).toEqual(["register"]);
  clock.advance(1);
  await stopped;
  const left = lines.find(({ message }) => message.startsWith("frames stay in the spool"));
  expect(left?.fields).toEqual({ sensor: "radar", frames: 2 });
  expect(events).toEqual(["register", "deregister"]);
});

test("a newer process ends it: told once, nothing drained, no goodbye", async () => {
  const { agent, seen } = await startAgent([sensor("radar", "shell", LOOP)]);
  const peer = await port.accept();
  await peer.line(0);
  peer.send({ type: "reject", code: "superseded", message: "newer", retryable: false });
  await eventually(() => seen.superseded === 1);
  await agent.stop(systemClock.monotonicMs() + 5000);
  expect(seen.superseded).toBe(1);
  expect(events).toEqual(["register"]);
});

test("superseded at registration is the same", async () => {
  answer = () =>
    Response.json({ error: { code: "superseded", message: "newer" } }, { status: 409 });
  const { agent, seen } = await startAgent([sensor("radar", "shell", LOOP)]);
  await eventually(() => seen.superseded === 1);
  await agent.stop(systemClock.monotonicMs() + 5000);
  expect(events).toEqual(["register"]);
  expect(port.peers.length).toBe(0);
});

test("a reloaded config is registered and applied, while unchanged sensors continue", async () => {
  const same = sensor("radar", "shell", LOOP);
  const { agent, config, detection, lines } = await startAgent([same]);
  const peer = await port.accept();
  await peer.line(0);
  peer.welcome(0);
  await peer.line(1);
  await agent.reconfigure(config, detection);
  const sensors = [same, sensor("sonar", "shell", LOOP)];
  await agent.reconfigure({ ...config, sensors, labels: { site: "valley" } }, detection);
  await eventually(() => registered?.sensors?.length === 2);
  expect(registered?.labels).toEqual({ site: "valley" });
  expect(await (await port.accept()).line(0)).toMatchObject({ sensor: "sonar" });
  expect(events).toEqual(["register", "register"]);
  expect(lines.filter(({ message }) => message === "sensor started").length).toBe(2);
  expect(peer.isClosed).toBe(false);
});

test("A11: processes of an earlier agent are ended before the first sensor starts", async () => {
  const child = systemSpawn({
    command: ["sh", "-c", 'trap "" TERM; echo up; while :; do sleep 1; done'],
    env: { PATH: "/usr/bin:/bin", FLEET_SENSOR: "radar" },
  });
  await child.stdout.read();
  const { pid, startTicks: start_ticks, bootId: boot_id } = processIdentity(child.pid)!;
  writeFileSync(
    join(dir, "processes.json"),
    JSON.stringify([{ sensor: "radar", pid, start_ticks, boot_id }]),
  );
  const { lines } = await startAgent([sensor("radar", "shell", LOOP)]);
  await eventually(() => lines.some(({ message }) => message === "sensor started"));
  const messages = lines.map(({ message }) => message);
  expect(messages.indexOf("ended the processes an earlier agent left running")).toBeLessThan(
    messages.indexOf("sensor started"),
  );
  expect(await child.exited).toEqual({ code: undefined, signal: "SIGKILL" });
  child.stdout.close();
  child.stderr.close();
});
