import { expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom, systemClock } from "@fleet/daemon";
import { PROTOCOL_HEADER } from "@fleet/protocol";
import { parseConfig } from "./config/config.ts";
import { type Coordinator, createCoordinator, defaultTrackDir } from "./coordinator.ts";
import { openDb } from "./db/open.ts";
import { configuredTokens, RecordingLog, tempDir, until } from "./testing.ts";

const TRACKER = join(import.meta.dirname, "../test/rig/light-tracker.ts");
const PUSH = "push-token";

function coordinatorIn(
  dir: string,
  options: { httpPort?: number; log?: RecordingLog } = {},
): Coordinator {
  return createCoordinator({
    config: parseConfig("test", {
      http: { host: "127.0.0.1", port: options.httpPort ?? 0 },
      tcp_server: { host: "127.0.0.1", port: 0 },
    }),
    dataDir: dir,
    trackDir: defaultTrackDir(dir),
    tokens: configuredTokens({ enroll: "enroll", push: PUSH, operator: "operator" }),
    trackerCommand: [process.execPath, TRACKER, "{port}", join(dir, "{stream}.log")],
    trackerEnv: { PATH: process.env["PATH"] ?? "" },
    version: "test",
    clock: systemClock,
    random: seededRandom(1),
    log: options.log ?? new RecordingLog(),
  });
}

async function get(port: number, path: string): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    headers: { Authorization: "Bearer operator" },
  });
  return response.json();
}

test("a plain node's frame becomes a track event in the API and in the track file (T2, T9)", async () => {
  using dir = tempDir();
  const coordinator = coordinatorIn(dir.path);
  await coordinator.start();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: coordinator.framesPort,
    socket: { data() {} },
  });
  const frame = { timestamp: 7, delay: [], doppler: [], snr: [] };
  socket.write(`${JSON.stringify({ node_id: "hill", token: PUSH, ...frame })}\n`);
  let tracks: unknown = {};
  let asking = false;
  await until(
    () => JSON.stringify(tracks).includes(`"track_id":"t7"`),
    () => {
      if (asking) return;
      asking = true;
      void get(coordinator.httpPort, "/api/v1/trackers/hill/tracks").then((answer) => {
        tracks = answer;
        asking = false;
      });
    },
  );
  expect(await get(coordinator.httpPort, "/api/v1/agents/hill")).toMatchObject({
    kind: "plain",
    state: "LIVE",
  });
  const stopped = coordinator.stop(systemClock.monotonicMs() + 10_000);
  expect(coordinator.stop(0)).toBe(stopped);
  await stopped;
  expect(readdirSync(join(dir.path, "tracks", "hill"))).toHaveLength(1);
});

test("credentials survive a restart of the coordinator, so no agent has to register again (R3, H5)", async () => {
  using dir = tempDir();
  const log = new RecordingLog();
  const first = coordinatorIn(dir.path, { log });
  await first.start();
  const headers = { [PROTOCOL_HEADER]: "1", Authorization: "Bearer enroll" };
  const registered = await fetch(`http://127.0.0.1:${first.httpPort}/api/v1/agents/register`, {
    method: "POST",
    headers,
    body: JSON.stringify({ node_id: "radar3", instance_id: "i1", version: "1" }),
  });
  const { access_token: token } = (await registered.json()) as { access_token: string };
  await first.stop(systemClock.monotonicMs() + 5000);
  expect(log.lines.filter((l) => l.level === "error")).toEqual([]);
  // Prepared statements keep a closed database's lock until they are collected.
  Bun.gc(true);
  const second = coordinatorIn(dir.path);
  await second.start();
  expect(await get(second.httpPort, "/api/v1/agents/radar3")).toMatchObject({ state: "UNKNOWN" });
  const beat = await fetch(`http://127.0.0.1:${second.httpPort}/api/v1/agents/radar3/heartbeat`, {
    method: "POST",
    headers: { ...headers, Authorization: `Bearer ${token}` },
    body: JSON.stringify({ instance_id: "i1", epoch: 1 }),
  });
  expect(beat.status).toBe(200);
  expect(await get(second.httpPort, "/api/v1/agents/radar3")).toMatchObject({ state: "LIVE" });
  await second.stop(systemClock.monotonicMs() + 5000);
});

test("a failed start stops what had started and names the reason; nothing stays listening", async () => {
  using dir = tempDir();
  const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const coordinator = coordinatorIn(dir.path, { httpPort: taken.port });
  const refusal = await coordinator.start().catch((error: unknown) => error);
  expect(String(refusal)).toContain("the port is in use (choose another with --http HOST:PORT)");
  const { framesPort } = coordinator;
  taken.stop(true);
  const reached = await Bun.connect({
    hostname: "127.0.0.1",
    port: framesPort,
    socket: { data() {} },
  }).then(
    () => true,
    () => false,
  );
  expect(reached).toBe(false);
});

test("a damaged key file prevents the start and leaves the data directory unlocked", () => {
  using dir = tempDir();
  writeFileSync(join(dir.path, "jwt.key"), "short");
  expect(() => coordinatorIn(dir.path)).toThrow("jwt.key should hold 32 bytes");
  Bun.gc(true);
  openDb(dir.path).close();
});
