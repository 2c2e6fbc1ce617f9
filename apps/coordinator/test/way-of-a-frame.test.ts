/** The path of a frame through the built binaries: interpreter → sensor → agent → coordinator → tracker → tracks. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { SensorCounters } from "@fleet/protocol";
import {
  ENROLL_TOKEN,
  Fleet,
  OPERATOR_TOKEN,
  PUSH_TOKEN,
  recordingTracker,
  until,
} from "./rig/fleet.ts";
import { aircraft, COUNTING_SH } from "./rig/sensors.ts";

let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(() => fleet.close());

const quick = { heartbeat_interval: "100ms", stale_after: "400ms", dead_after: "400ms" };

function sensor(name: string, runtime: string, command: string[]): Record<string, unknown> {
  return { name, runtime, command, mode: "stream", restart: "always" };
}

/** A config whose trackers record their input in `file`. */
function recording(file: string): Record<string, unknown> {
  return { tracker: { command: recordingTracker(file), stop_grace: "1s" } };
}

function recorded(file: string): number[] {
  return fleet
    .read(file)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => (JSON.parse(line) as { delay: number[] }).delay[0]!);
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
}

describe("an agent", () => {
  test("registers with its detected runtimes, is listed, and its frames become tracks", async () => {
    await fleet.coordinator();
    const script = fleet.write("radar.py", aircraft(0.02));
    fleet.agent("radar1", {
      node: { name: "radar1", group: "hill", labels: { site: "north" } },
      sensors: [sensor("radar", "python", [script])],
    });
    const node = await fleet.untilState("radar1", "LIVE");
    expect(node.group).toBe("hill");
    expect(node.labels).toEqual({ site: "north" });
    expect(node.runtimes.map((r) => r.name)).toContain("python");
    expect(node.sensors).toEqual([{ name: "radar" as never, runtime: "python", mode: "stream" }]);
    const tracks = await until("a track is confirmed", async () => {
      const found = await fleet.tracks("radar1.radar");
      return found.length > 0 && found;
    });
    const detections = tracks[0]!["detections"] as { delay: number; doppler: number }[];
    expect(detections.every((d) => d.doppler === 130.1)).toBe(true);
    const day = new Date().toISOString().slice(0, 10);
    const file = await until(
      "the day's track file exists",
      () => fleet.read(`data/tracks/radar1.radar/${day}.jsonl`) || undefined,
    );
    const event = JSON.parse(file.split("\n")[0]!) as Record<string, unknown>;
    expect(event["run"]).toBe(1);
    expect(event["track_id"]).toBeString();
  });

  test("runs poll and native sensors, each with its own stream", async () => {
    await fleet.coordinator(recording(join(fleet.dir, "frames")));
    const frame = '{"timestamp":1,"delay":[],"doppler":[],"snr":[]}';
    const native = fleet.write(
      "noise",
      `#!/bin/sh\nwhile :; do echo '${frame}'; sleep 0.05; done\n`,
      0o700,
    );
    fleet.agent(
      "mixed",
      {
        runtimes: ["auto", "native"],
        sensors: [
          {
            name: "once",
            runtime: "shell",
            command: ["-c", `echo '${frame}'`],
            mode: "poll",
            interval: "100ms",
            timeout: "2s",
          },
          sensor("noise", "native", [native]),
        ],
      },
      { FLEET_NODE_ID: "mixed" },
    );
    for (const stream of ["mixed.once", "mixed.noise"]) {
      const tracker = await until(`frames of ${stream} arrive`, async () => {
        const view = await fleet.tracker(stream);
        return view !== undefined && view.frames >= 3 && view;
      });
      expect(tracker.state).toBe("RUNNING");
    }
  });

  test("becomes STALE, then DEAD, when killed, and returns with the same identity", async () => {
    await fleet.coordinator({ registry: quick });
    const config = { node: { group: "hill" }, sensors: [] };
    const agent = fleet.agent("wanderer", config);
    const first = await until("the node is listed", async () => (await fleet.nodes())[0]);
    expect(first.epoch).toBe(1);
    await fleet.untilState(first.node_id, "LIVE");
    agent.kill("SIGKILL");
    await fleet.untilState(first.node_id, "STALE");
    await fleet.untilState(first.node_id, "DEAD");
    fleet.agent("wanderer", config);
    const back = await fleet.untilState(first.node_id, "LIVE");
    expect(back.epoch).toBe(2);
  });

  test("stops in order on SIGTERM: SHUTDOWN at the coordinator, exit code 143, no sensor left", async () => {
    await fleet.coordinator();
    const pidFile = join(fleet.dir, "pid");
    const script = fleet.write("s.sh", `echo $$ > ${pidFile}\n${COUNTING_SH}`);
    const agent = fleet.agent("leaver", {
      node: { name: "leaver" },
      sensors: [sensor("s", "shell", [script])],
    });
    await until("frames arrive", async () => ((await fleet.tracker("leaver.s"))?.frames ?? 0) > 5);
    const pid = Number(fleet.read("pid"));
    expect(isAlive(pid)).toBe(true);
    agent.kill("SIGTERM");
    expect(await agent.exit()).toBe(143);
    expect(isAlive(pid)).toBe(false);
    expect((await fleet.node("leaver"))?.state).toBe("SHUTDOWN");
  });

  test("exits with 69 when a newer process takes over its node, and the newer one stays", async () => {
    await fleet.coordinator({ registry: quick });
    const older = fleet.agent("a", { node: { name: "twin" }, sensors: [] });
    await fleet.untilState("twin", "LIVE");
    fleet.agent("b", { node: { name: "twin" }, sensors: [] });
    expect(await older.exit()).toBe(69);
    const node = await fleet.untilState("twin", "LIVE");
    expect(node.epoch).toBe(2);
  });

  test("keeps its secrets from its sensors (A10)", async () => {
    await fleet.coordinator(recording(join(fleet.dir, "frames")));
    const seen = join(fleet.dir, "env");
    const script = fleet.write(
      "s.sh",
      `env > ${seen}.new && mv ${seen}.new ${seen}\n${COUNTING_SH}`,
    );
    fleet.agent(
      "keeper",
      { node: { name: "keeper" }, sensors: [sensor("s", "shell", [script])] },
      { IMAGE_OWN: "kept" },
    );
    const env = await until(
      "the sensor has written its environment",
      () => fleet.read("env") || undefined,
    );
    expect(env).not.toContain(ENROLL_TOKEN);
    expect(env).toContain("IMAGE_OWN=kept");
    expect(env).toContain("FLEET_NODE_ID=keeper");
    expect(env).toContain("FLEET_SENSOR=s");
    expect(env).toContain(`FLEET_API_URL=http://127.0.0.1:${fleet.ports.http}`);
  });
});

describe("a coordinator", () => {
  test("killed and restarted gets its node back, loses no frame, and leaves no tracker behind (R3, T5)", async () => {
    const config = { ...recording(join(fleet.dir, "frames")), registry: quick };
    const first = await fleet.coordinator(config);
    const script = fleet.write("s.sh", COUNTING_SH);
    const agent = fleet.agent("survivor", {
      node: { name: "survivor" },
      sensors: [sensor("s", "shell", [script])],
    });
    const before = await until("frames arrive", async () => {
      const tracker = await fleet.tracker("survivor.s");
      return tracker !== undefined && tracker.frames > 20 && tracker;
    });
    const { instance_id: instance, epoch } = (await fleet.node("survivor"))!;
    first.kill("SIGKILL");
    await first.exit();
    await fleet.coordinator(config);
    const node = await fleet.untilState("survivor", "LIVE");
    expect(node.instance_id).toBe(instance);
    expect(node.epoch).toBe(epoch);
    await until(
      "frames flow again",
      async () => ((await fleet.tracker("survivor.s"))?.frames ?? 0) > 20,
    );
    expect((await fleet.tracker("survivor.s"))?.run).toBe(2);
    expect(isAlive(before.pid!)).toBe(false);
    agent.kill("SIGTERM");
    await agent.exit();
    const numbers = recorded("frames");
    const last = Math.max(...numbers);
    const missing = Array.from({ length: last }, (_, i) => i + 1).filter(
      (n) => !numbers.includes(n),
    );
    expect(missing).toEqual([]);
    const { counters } = (await fleet.node("survivor"))!;
    const { produced, acked, spooled, dropped } = counters["s"] as SensorCounters;
    expect(acked + spooled + Object.values(dropped).reduce((a, b) => a + b, 0)).toBe(produced);
  });

  test("exits with 143 on SIGTERM, with its trackers, and an agent waits for its return", async () => {
    const coordinator = await fleet.coordinator();
    const script = fleet.write("s.sh", COUNTING_SH);
    fleet.agent("patient", {
      node: { name: "patient" },
      sensors: [sensor("s", "shell", [script])],
    });
    const tracker = await until("a tracker runs", async () => {
      const view = await fleet.tracker("patient.s");
      return view !== undefined && view.frames > 5 && view;
    });
    coordinator.kill("SIGTERM");
    expect(await coordinator.exit()).toBe(143);
    expect(isAlive(tracker.pid!)).toBe(false);
    await fleet.coordinator();
    await until(
      "frames flow again",
      async () => ((await fleet.tracker("patient.s"))?.frames ?? 0) > 5,
    );
  });

  test("refuses garbage on every port without affecting others", async () => {
    await fleet.coordinator(recording(join(fleet.dir, "frames")));
    const script = fleet.write("s.sh", COUNTING_SH);
    fleet.agent("bystander", {
      node: { name: "bystander" },
      sensors: [sensor("s", "shell", [script])],
    });
    const before = await until("frames arrive", async () => {
      const view = await fleet.tracker("bystander.s");
      return view !== undefined && view.frames > 5 && view;
    });
    const noise = new Uint8Array(200_000).map((_, i) => (i * 2_654_435_761) >>> 13);
    const garbage = [
      noise,
      Buffer.from("\n".repeat(10_000)),
      Buffer.from(`{"type":"hello"}\n`),
      Buffer.from(`{"type":"hello","protocol":1,"node_id":"../x","token":"t"}\n`),
      Buffer.from(
        `{"node_id":"bystander","token":"${PUSH_TOKEN}","timestamp":1,"delay":[],"doppler":[],"snr":[]}\n`,
      ),
      Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ];
    for (const port of [fleet.ports.frames, fleet.ports.http]) {
      await Promise.all(garbage.map((bytes) => pour(port, bytes)));
    }
    for (const body of ["", "{", "[]", '{"node_id":"a.b"}', `"${"x".repeat(300_000)}"`]) {
      const response = await fetch(`http://127.0.0.1:${fleet.ports.http}/api/v1/agents/register`, {
        method: "POST",
        headers: { Authorization: `Bearer ${ENROLL_TOKEN}`, "X-Fleet-Protocol-Version": "1" },
        body,
      });
      expect(response.status).toBeOneOf([400, 413]);
    }
    const after = await until("frames continue", async () => {
      const view = await fleet.tracker("bystander.s");
      return view !== undefined && view.frames > before.frames + 20 && view;
    });
    expect(after.run).toBe(1);
    expect((await fleet.node("bystander"))?.state).toBe("LIVE");
    const ids = (await fleet.nodes()).map((node): string => node.node_id);
    expect(ids).toEqual(["bystander"]);
  });

  test("accepts plain nodes beside agents and starts trackers for them (T1, T2)", async () => {
    await fleet.coordinator();
    const lines = Array.from({ length: 40 }, (_, i) => {
      const frame = {
        timestamp: 1_783_500_000_000 + i * 500,
        delay: [60 - 0.1 * i],
        doppler: [130.1],
        snr: [18],
      };
      return JSON.stringify({ node_id: "plain1", token: PUSH_TOKEN, ...frame });
    });
    await pour(fleet.ports.frames, Buffer.from(`${lines.join("\n")}\n`));
    const tracks = await until("a track is confirmed", async () => {
      const found = await fleet.tracks("plain1");
      return found.length > 0 && found;
    });
    expect(JSON.stringify(tracks)).not.toContain(PUSH_TOKEN);
    expect((await fleet.node("plain1"))?.kind).toBe("plain");
  });

  test("names a port in use and the flag that changes it", async () => {
    await fleet.coordinator();
    const { http } = fleet.ports;
    const data = join(fleet.dir, "other");
    const second = fleet.spawn(
      "fleet-coordinator",
      ["serve", "--data-dir", data, "--http", `127.0.0.1:${http}`, "--frames", "127.0.0.1:0"],
      { FLEET_ENROLL_TOKEN: ENROLL_TOKEN, FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN },
    );
    expect(await second.exit()).toBe(1);
    expect(second.log.at(-1)).toContain(
      `127.0.0.1:${http}: the port is in use (choose another with --http HOST:PORT)`,
    );
  });
});

describe("a bad configuration", () => {
  test("of the coordinator is refused with exit code 78 and a list of all problems", async () => {
    const path = fleet.write(
      "bad.yaml",
      "tcp_server: { port: 99999, autoprovision: true }\nregistry: { stale_after: soon }\n",
    );
    const run = fleet.spawn("fleet-coordinator", ["check-config", path]);
    expect(await run.exit()).toBe(78);
    const text = run.log.join("\n");
    for (const where of ["tcp_server.port", "tcp_server.autoprovision", "registry.stale_after"]) {
      expect(text).toContain(where);
    }
  });

  test("of the agent is refused with exit code 78 and a list of all problems", async () => {
    const path = fleet.write(
      "bad.yaml",
      "node: { name: a.b }\nsensor: []\nsensors:\n  - { name: s, runtime: native, command: [x], mode: sometimes }\n",
    );
    const run = fleet.spawn("fleet-agent", [
      "--config",
      path,
      "--coordinator",
      "http://127.0.0.1:1",
    ]);
    expect(await run.exit()).toBe(78);
    const text = run.log.join("\n");
    for (const where of ["node.name", "sensor", "sensors.0.mode"]) expect(text).toContain(where);
  });

  test("without tokens keeps the coordinator from starting (H5)", async () => {
    const run = fleet.spawn("fleet-coordinator", ["serve", "--data-dir", join(fleet.dir, "d")]);
    expect(await run.exit()).toBe(78);
    const text = run.log.join("\n");
    expect(text).toContain("FLEET_ENROLL_TOKEN");
    expect(text).toContain("FLEET_OPERATOR_TOKEN");
  });
});

/** Writes `bytes` to a port and waits until either side has closed. */
async function pour(port: number, bytes: Uint8Array): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let at = 0;
  const push = (socket: Bun.Socket): void => {
    at += Math.max(0, socket.write(bytes, at, bytes.length - at));
    if (at >= bytes.length) socket.end();
  };
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: push,
      drain: push,
      data() {},
      close: () => resolve(),
      error: () => resolve(),
    },
  });
  await promise;
}
