/** A coordinator on a real file system that is full. Mounting one needs root. (R1) */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, symlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROTOCOL_HEADER } from "@fleet/protocol";
import { ENROLL_TOKEN, Fleet, until } from "./rig/fleet.ts";
import { COUNTING_SH } from "./rig/sensors.ts";

const CHUNK = new Uint8Array(4096);
/** Enough registers to use the free space inside the existing database files, which the filler cannot. */
const REGISTERS_MAX = 500;

let fleet: Fleet;
let disk: string;
beforeEach(() => {
  fleet = new Fleet();
  disk = mkdtempSync(join(tmpdir(), "fleet-disk-"));
  mount(disk);
  symlinkSync(disk, join(fleet.dir, "data"));
});
afterEach(async () => {
  await fleet.close();
  Bun.spawnSync(["umount", disk]);
  rmSync(disk, { recursive: true });
});

function mount(dir: string): boolean {
  return Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", dir]).success;
}

/** Whether a file system can be mounted here. */
const canMount = ((): boolean => {
  const dir = mkdtempSync(join(tmpdir(), "fleet-disk-"));
  const can = mount(dir);
  if (can) Bun.spawnSync(["umount", dir]);
  rmSync(dir, { recursive: true });
  return can;
})();

function fill(): void {
  const fd = openSync(join(disk, "filler"), "a");
  try {
    for (;;) writeSync(fd, CHUNK);
  } catch {
    // Full.
  }
  closeSync(fd);
}

function register(nodeId: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${fleet.ports.http}/api/v1/agents/register`, {
    method: "POST",
    headers: { Authorization: `Bearer ${ENROLL_TOKEN}`, [PROTOCOL_HEADER]: "1" },
    body: JSON.stringify({ node_id: nodeId, instance_id: nodeId, version: "1" }),
  });
}

describe.skipIf(!canMount)("on a full disk (R1)", () => {
  test("registers are refused with Retry-After, frames and heartbeats continue, readyz and metrics report it, and the coordinator recovers", async () => {
    await fleet.coordinator({ registry: { heartbeat_interval: "100ms" } });
    const script = fleet.write("s.sh", COUNTING_SH);
    const sensors = [{ name: "s", runtime: "shell", command: [script], mode: "stream" }];
    fleet.agent("early", { node: { name: "early" }, sensors });
    const frames = async (): Promise<number> => (await fleet.tracker("early.s"))?.frames ?? 0;
    await until("frames arrive", async () => (await frames()) > 5);

    const accepted: string[] = [];
    let refusal: Response | undefined;
    for (let i = 0; i < REGISTERS_MAX && refusal === undefined; i++) {
      fill();
      const response = await register(`node-${i}`);
      if (response.ok) accepted.push(`node-${i}`);
      else refusal = response;
    }
    expect(refusal?.status).toBe(503);
    expect(refusal?.headers.get("Retry-After")).toBe("5");
    expect(await refusal?.json()).toMatchObject({ error: { code: "unavailable" } });
    const url = `http://127.0.0.1:${fleet.ports.http}`;
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain("fleet_database_writable 0");
    expect((await fetch(`${url}/healthz`)).status).toBe(200);

    const before = await frames();
    const lastSeen = (await fleet.node("early"))?.last_seen ?? 0;
    const late = fleet.agent("late", { node: { name: "late" }, sensors: [] });
    await until("more frames arrive", async () => (await frames()) > before + 50);
    await until(
      "a heartbeat arrives",
      async () => ((await fleet.node("early"))?.last_seen ?? 0) > lastSeen,
    );
    expect((await fleet.node("early"))?.state).toBe("LIVE");
    await until("the late node is refused", () =>
      late.log.some((l) => l.includes("503 unavailable")),
    );

    rmSync(join(disk, "filler"));
    await fleet.untilState("late", "LIVE");
    await until("the coordinator is ready", async () => (await fetch(`${url}/readyz`)).ok);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain("fleet_database_writable 1");
    expect((await fleet.node("early"))?.epoch).toBe(1);
    for (const id of accepted) expect((await fleet.node(id))?.epoch).toBe(1);
  });
});
