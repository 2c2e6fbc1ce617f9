import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { eventually } from "../testing.ts";
import type { Check } from "./check.ts";
import { examine, PART_MS_MAX } from "./doctor.ts";

let dir: string;
const open: { stop(now: boolean): unknown }[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "doctor-"));
});

afterEach(() => {
  for (const server of open.splice(0)) void server.stop(true);
  rmSync(dir, { recursive: true });
});

/** A coordinator that accepts every token, and its requests. */
function coordinator(): { readonly url: string; readonly asked: string[] } {
  const asked: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request): Response {
      const { pathname, port } = new URL(request.url);
      asked.push(`${request.method} ${pathname}`);
      if (pathname === "/healthz") return Response.json({ status: "ok", version: "1" });
      const kind = request.headers.get("authorization") === "Bearer mine" ? "refresh" : "enroll";
      return Response.json({
        kind,
        protocol: 1,
        version: "1",
        server_time_ms: systemClock.nowMs(),
        frames: { host: "127.0.0.1", port: Number(port), tls: false },
      });
    },
  });
  open.push(server);
  return { url: `http://127.0.0.1:${server.port}`, asked };
}

function write(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

interface Settings {
  readonly yaml?: string;
  readonly url?: string;
  readonly clock?: Clock;
  readonly stateDir?: string;
  readonly onWaiting?: (parts: readonly string[]) => void;
}

function run({ yaml, url, clock = systemClock, stateDir = dir, onWaiting }: Settings) {
  return examine({
    flags: {
      stateDir,
      ...(yaml === undefined ? {} : { config: write("agent.yaml", yaml) }),
      ...(url === undefined ? {} : { coordinator: url }),
    },
    // Nothing to detect: the interpreters of this machine must not matter.
    env: { PATH: dir, FLEET_ENROLL_TOKEN: "enrol", FLEET_AGENT_RUNTIMES: "native" },
    clock,
    ...(onWaiting === undefined ? {} : { onWaiting }),
  });
}

const of = (checks: readonly Check[], id: Check["id"]): readonly Check[] =>
  checks.filter((check) => check.id === id);

const NATIVE = "sensors: [{ name: a, runtime: native, command: [/bin/sh] }]";

describe("the doctor (A9)", () => {
  test("finds nothing wrong where nothing is, in a fixed order", async () => {
    const { url } = coordinator();
    const checks = await run({ url, yaml: NATIVE });
    expect(checks.filter(({ status }) => status === "fail")).toEqual([]);
    const order = checks.map(({ id }) => id);
    expect([...new Set(order)]).toEqual([
      "config",
      "proc",
      "coordinator",
      "token",
      "clock",
      "frames",
      "state_dir",
      "identity",
      "runtimes",
      "spool",
      "sensor",
    ]);
  });

  test("disturbs nothing: it only asks, and leaves the state directory as it was", async () => {
    const { url, asked } = coordinator();
    const identity = write("identity.json", '{"node_id":"hill","refresh_token":"mine"}');
    const before = [readFileSync(identity, "utf8"), statSync(identity).mtimeMs];
    const checks = await run({ url });
    expect(asked).toEqual(["GET /healthz", "GET /api/v1/auth/whoami", "GET /api/v1/auth/whoami"]);
    expect(of(checks, "token")[0]).toMatchObject({ subject: "identity.json", status: "ok" });
    expect([readFileSync(identity, "utf8"), statSync(identity).mtimeMs]).toEqual(before);
    expect(readdirSync(dir)).toEqual(["identity.json"]);
  });

  test("reports every problem of a config with its path, and checks the valid rest of it", async () => {
    const { url } = coordinator();
    const yaml = `
coordinator: { url: ${url}, bogus: 1 }
node: { name: "no dots." }
sensors:
  - { name: a, runtime: native, command: [/none] }
  - { name: b, runtime: cobol, command: [x] }`;
    const checks = await run({ yaml });
    const path = join(dir, "agent.yaml");
    expect(
      of(checks, "config").map(({ status, message }) => [status, message.split(": ")[1]]),
    ).toEqual([
      ["fail", "coordinator.bogus"],
      ["fail", "node.name"],
      ["fail", "sensors.1.runtime"],
    ]);
    expect(of(checks, "config")[0]?.message).toStartWith(path);
    expect(of(checks, "coordinator")).toMatchObject([{ status: "ok" }]);
    expect(of(checks, "sensor")).toMatchObject([{ status: "fail", subject: "a" }]);
  });

  test("looks at the rest when the config can't be read", async () => {
    const checks = await examine({
      flags: { config: join(dir, "none.yaml"), stateDir: dir },
      env: { PATH: dir },
      clock: systemClock,
    });
    expect(of(checks, "config")).toMatchObject([{ status: "fail" }]);
    expect(of(checks, "config")[0]?.message).toContain("none.yaml: can't be read: ENOENT");
    for (const id of ["proc", "token", "state_dir", "runtimes", "sensor"] as const)
      expect(of(checks, id)).not.toEqual([]);
  });

  test("lets no hanging part delay the others, and names the unfinished parts", async () => {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    open.push(listener);
    const clock = new FakeClock();
    let waiting: readonly string[] = [];
    const checks = run({
      url: `http://127.0.0.1:${listener.port}`,
      yaml: NATIVE,
      clock,
      onWaiting: (parts) => void (waiting = parts),
    });
    await eventually(() => waiting.length === 4, "all that needs no coordinator to be done");
    expect(waiting).toEqual(["coordinator", "token", "clock", "frames"]);
    clock.advance(PART_MS_MAX);
    const found = await checks;
    expect(of(found, "coordinator")).toMatchObject([{ status: "fail" }]);
    expect(of(found, "sensor")).toMatchObject([{ status: "ok" }]);
    expect(waiting).toEqual([]);
  });
});
