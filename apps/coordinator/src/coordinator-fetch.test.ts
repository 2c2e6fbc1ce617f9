import { expect, test } from "bun:test";
import { join } from "node:path";
import { seededRandom, systemClock } from "@fleet/daemon";
import { nodeViewSchema, trackerViewSchema, trackListSchema } from "@fleet/protocol";
import { parseConfig } from "./config/config.ts";
import { createCoordinator, defaultTrackDir } from "./coordinator.ts";
import { configuredTokens, RecordingLog, tempDir } from "./testing.ts";

const TRACKER = join(import.meta.dirname, "../test/rig/light-tracker.ts");

test("a configured node that is fetched over HTTP appears in tracks, nodes and metrics; its password appears nowhere (T2, T7)", async () => {
  using dir = tempDir();
  const log = new RecordingLog();
  let authorization: string | null = null;
  let n = 0;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ headers }) => {
      authorization = headers.get("authorization");
      return Response.json({ timestamp: ++n, delay: [], doppler: [], snr: [] });
    },
  });
  const detectionUrl = `http://me:secret@127.0.0.1:${server.port}/api/detection?key=secret`;
  const coordinator = createCoordinator({
    config: parseConfig("test", {
      http: { host: "127.0.0.1", port: 0 },
      tcp_server: { host: "127.0.0.1", port: 0 },
      trackers: [{ name: "hill", mode: "http", detection_url: detectionUrl, interval: "50ms" }],
    }),
    dataDir: dir.path,
    trackDir: defaultTrackDir(dir.path),
    tokens: configuredTokens({ enroll: "enroll", push: "push", operator: "operator" }),
    trackerCommand: [process.execPath, TRACKER, "{port}", join(dir.path, "{stream}.log")],
    trackerEnv: { PATH: process.env["PATH"] ?? "" },
    version: "test",
    clock: systemClock,
    random: seededRandom(1),
    log,
  });
  await coordinator.start();
  const get = async (path: string): Promise<string> => {
    const headers = { Authorization: "Bearer operator" };
    const url = `http://127.0.0.1:${coordinator.httpPort}${path}`;
    return (await fetch(url, { headers })).text();
  };
  const tracks = async (): Promise<number> =>
    trackListSchema.parse(JSON.parse(await get("/api/v1/trackers/hill/tracks"))).tracks.length;
  while ((await tracks()) < 3);
  const tracker = await get("/api/v1/trackers/hill");
  expect(trackerViewSchema.parse(JSON.parse(tracker))).toMatchObject({
    source: "config",
    name: "hill",
    mode: "http",
    url: `http://127.0.0.1:${server.port}/api/detection`,
    state: "RUNNING",
  });
  const node = nodeViewSchema.parse(JSON.parse(await get("/api/v1/agents/hill")));
  expect([node.kind, node.state]).toEqual(["plain", "LIVE"]);
  const metrics = await get("/metrics");
  expect(metrics).toMatch(/fleet_fetches_total{stream="hill",outcome="frame"} [1-9]/);
  expect(authorization!).toBe(`Basic ${btoa("me:secret")}`);
  await server.stop(true);
  await coordinator.stop(systemClock.monotonicMs() + 10_000);
  expect(JSON.stringify([tracker, metrics, log.lines])).not.toContain("secret");
});
