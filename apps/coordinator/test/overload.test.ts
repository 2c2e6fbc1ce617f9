/** Many streams, some with slow trackers, and clients that send garbage: other streams do not suffer, and memory stays bounded. (T1, T8) */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { serviceApi, trackersApi, type TrackerView } from "@fleet/protocol";
import { compileC } from "./rig/compile-c.ts";
import { Fleet, PUSH_TOKEN, type Run, until } from "./rig/fleet.ts";
import { frameLine, LightSession, register } from "./rig/light-session.ts";

const LOOPBACK = "127.0.0.1";
const MIB = 1024 * 1024;
/** Several times the need. Without bounds, each of these tests would need gigabytes. */
const RSS_BYTES_MAX = 512 * MIB;
/** Below the range for outgoing connections, and away from the ports of other tests. */
const PORTS_FROM = 12_000;
const STREAMS = 500;

let fleet: Fleet;
let coordinator: Run;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(async () => {
  // Trackers that read slowly would take long to end.
  const trackers = await trackerList().catch(() => []);
  coordinator.kill("SIGKILL");
  await coordinator.exit();
  for (const { pid } of trackers) if (pid !== null) process.kill(pid, "SIGKILL");
  await fleet.close();
});

/**
 * Starts a coordinator whose trackers record their input. The tracker of a stream with `slow` in its name reads 1 kB/s; one with
 * `down` exits at once.
 */
async function start(): Promise<void> {
  const recorder = join(fleet.dir, "recorder");
  expect(compileC(join(import.meta.dir, "rig/recorder.c"), recorder)).toBeUndefined();
  const script = `case $1 in *down*) exit 3;; *slow*) rate=1000;; *) rate=0;; esac; exec "$0" "$3/$1" "$2" $rate`;
  const first = PORTS_FROM + (process.pid % 10) * 2 * STREAMS;
  coordinator = await fleet.coordinator({
    tracker: {
      command: ["sh", "-c", script, recorder, "{stream}", "{port}", fleet.dir],
      stop_grace: "100ms",
    },
    tcp_server: {
      auto_provision_port_start: first,
      auto_provision_port_end: first + 2 * STREAMS - 1,
    },
  });
}

async function trackerList(): Promise<readonly TrackerView[]> {
  return (await fleet.api.call(trackersApi.list, {})).trackers;
}

/** Returns the numbers of the frames that a stream's tracker has read, over all its runs. */
function recorded(stream: string): number[] {
  const dir = join(fleet.dir, stream);
  return readdirSync(dir)
    .toSorted()
    .flatMap((name) => [...readFileSync(join(dir, name), "latin1").matchAll(/"delay":\[(\d+)\]/g)])
    .map(([, n]) => Number(n));
}

function oneTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1);
}

function peakRssBytes(): number {
  const status = readFileSync(`/proc/${coordinator.pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

function openSockets(): number {
  const dir = `/proc/${coordinator.pid}/fd`;
  return readdirSync(dir).filter((fd) => {
    try {
      return readlinkSync(join(dir, fd)).startsWith("socket:");
    } catch {
      return false; // Closed meanwhile.
    }
  }).length;
}

/** Returns a value of the coordinator's metrics; 0 if it is not there. */
async function metric(line: string): Promise<number> {
  const metrics = await fleet.api.call(serviceApi.metrics, {});
  const found = metrics.split("\n").find((text) => text.startsWith(`${line} `));
  return found === undefined ? 0 : Number(found.slice(line.length));
}

function refused(reason: string): Promise<number> {
  return metric(`fleet_lines_refused_total{reason="${reason}"}`);
}

/** Opens a connection of a plain node and binds it with a heartbeat. `push` resolves when the socket has taken everything. */
async function plainNode(nodeId: string) {
  const socket = connect({ host: LOOPBACK, port: fleet.ports.frames });
  const push = (bytes: string | Uint8Array): Promise<void> =>
    new Promise((resolve, reject) =>
      socket.write(bytes, (error) => (error ? reject(error) : resolve())),
    );
  const line = (fields: object): string =>
    `${JSON.stringify({ node_id: nodeId, token: PUSH_TOKEN, ...fields })}\n`;
  await push(line({ type: "heartbeat" }));
  await until(`${nodeId} has a tracker`, () => fleet.tracker(nodeId));
  return { socket, push, line };
}

describe("a coordinator with 500 streams", () => {
  test("serves them all while the trackers of two hardly read (T8)", async () => {
    await start();
    const names = oneTo(STREAMS / 2).map((n) => `s${n}`);
    const slowNames = ["slow1", "slow2"];
    const frames = 200;
    const north = await register(fleet, "north", names);
    const south = await register(fleet, "south", [...names.slice(2), ...slowNames]);
    const slow = await Promise.all(slowNames.map((name) => LightSession.open(fleet, south, name)));
    // More than the window, the coordinator's queue and the socket buffers hold together.
    const wide = oneTo(1600).map((n) => frameLine(n, 20_000));
    for (const session of slow) session.send(wide);
    const fast = [
      ...names.map((name) => ({ agent: north, name })),
      ...names.slice(2).map((name) => ({ agent: south, name })),
    ];
    const sessions = await Promise.all(
      fast.map(({ agent, name }) => LightSession.open(fleet, agent, name)),
    );
    const half = frames / 2;
    for (const session of sessions) session.send(oneTo(half).map((n) => frameLine(n)));
    await Promise.all(sessions.map((session) => session.untilAcked(half)));
    for (const session of sessions) session.send(oneTo(half).map((n) => frameLine(half + n)));
    await Promise.all(sessions.map((session) => session.untilAcked(frames)));
    for (const { agent, name } of fast) {
      const stream = `${agent.nodeId}.${name}`;
      await until(`all frames of ${stream} arrive`, () => recorded(stream).length >= frames);
      expect(recorded(stream)).toEqual(oneTo(frames));
    }
    for (const [i, session] of slow.entries()) {
      expect(session.acked).toBeGreaterThan(0);
      expect(session.acked).toBeLessThan(wide.length);
      const read = recorded(`south.${slowNames[i]}`);
      expect(read).toEqual(oneTo(read.length));
    }
    const views = await trackerList();
    expect(views.filter(({ state, run }) => state === "RUNNING" && run === 1)).toHaveLength(
      STREAMS,
    );
    expect([...sessions, ...slow].flatMap(({ otherMessages }) => otherMessages)).toEqual([]);
    expect(peakRssBytes()).toBeLessThan(RSS_BYTES_MAX);
    for (const session of [...sessions, ...slow]) session.close();
  }, 120_000);
});

describe("beside a calm stream, which must not suffer,", () => {
  const portion = 100;
  let calm: LightSession;
  let sent = 0;

  beforeEach(async () => {
    await start();
    const agent = await register(fleet, "calm", ["s"]);
    calm = await LightSession.open(fleet, agent, "s");
    sent = 0;
    await sendCalm();
  });
  afterEach(() => calm.close());

  /** Sends the calm stream's next frames and waits for their acks. */
  async function sendCalm(): Promise<void> {
    calm.send(oneTo(portion).map((n) => frameLine(sent + n)));
    sent += portion;
    await calm.untilAcked(sent);
  }

  /** Expects that the calm stream has lost nothing and the coordinator has not grown. */
  async function expectCalm(): Promise<void> {
    await sendCalm();
    await until("all frames of the calm stream arrive", () => recorded("calm.s").length >= sent);
    expect(recorded("calm.s")).toEqual(oneTo(sent));
    expect((await fleet.tracker("calm.s"))?.run).toBe(1);
    expect(peakRssBytes()).toBeLessThan(RSS_BYTES_MAX);
  }

  test("floods of tiny and empty lines end their connections, and cost nobody else anything (T1, H12)", async () => {
    const lines = 100_000;
    for (const junk of ["{}\n", "\n"]) {
      const flood = await plainNode("flood");
      const closed = new Promise((resolve) => flood.socket.once("close", resolve));
      flood.socket.on("error", () => {});
      flood.socket.write(junk.repeat(lines));
      await sendCalm();
      await closed;
    }
    await until("both are counted", async () => (await refused("mostly_junk")) === 2);
    // Neither connection was read beyond its limit.
    expect(await refused("bad_credentials")).toBe(1001);
    expect(await refused("bad_json")).toBe(1001);
    const again = await plainNode("flood");
    await again.push(again.line({ timestamp: 1, delay: [1], doppler: [0], snr: [1] }));
    await until("a frame after the flood arrives", () => recorded("flood").length === 1);
    again.socket.destroy();
    await expectCalm();
  });

  test("a flood of invalid frames ends its session after 1000; each of these is rejected and counted (H12)", async () => {
    const agent = await register(fleet, "babbler", ["s"]);
    const session = await LightSession.open(fleet, agent, "s");
    session.send([frameLine(1)]);
    session.send(oneTo(20_000).map(() => "{}\n"));
    await until("the session is ended", async () => (await refused("mostly_junk")) === 1);
    await sendCalm();
    const rejections = session.otherMessages.filter((line) => line.includes("rejected"));
    expect(rejections).toEqual(
      oneTo(1001).map((n) => JSON.stringify({ type: "rejected", seq: n + 1, code: "bad_frame" })),
    );
    await until("its frame arrives", () => recorded("babbler.s").length === 1);
    session.close();
    await expectCalm();
  });

  test("lines of 1 MiB are accepted; longer ones are refused, counted, and end no connection (T1)", async () => {
    const wide = await plainNode("wide");
    // Frames of a plain node may be dropped while its tracker starts.
    await until("its tracker runs", async () => (await fleet.tracker("wide"))?.state === "RUNNING");
    const longest = (n: number, more: number): string => {
      const frame = { timestamp: n, delay: [n], doppler: [0], snr: [1], pad: "" };
      return wide.line({ ...frame, pad: "x".repeat(MIB - wide.line(frame).length + more) });
    };
    for (const n of oneTo(20)) {
      await wide.push(longest(n, 0));
      await wide.push(longest(100 + n, 1));
      if (n % 5 === 0) await sendCalm();
    }
    await until("the last line arrives", () => recorded("wide").length >= 20);
    expect(recorded("wide")).toEqual(oneTo(20));
    await until("all refusals are counted", async () => (await refused("too_long")) >= 20);
    expect(await refused("too_long")).toBe(20);
    wide.socket.destroy();
    await expectCalm();
  });

  test("a storm of short connections leaves nothing behind (T1)", async () => {
    const before = openSockets();
    const storms = 10;
    for (let storm = 0; storm < storms; storm++) {
      await Promise.all(oneTo(200).map((n) => connectBriefly(n % 4)));
      await sendCalm();
    }
    await until(
      "one connection is left",
      async () => (await metric("fleet_frame_connections")) === 1,
    );
    await until("no more sockets are open than before", () => openSockets() <= before);
    await expectCalm();
  });

  test("a plain node that floods while its tracker is down loses its oldest frames, and each is counted (T1)", async () => {
    const node = await plainNode("down");
    const frames = 60_000;
    const portions = 6;
    for (let at = 0; at < frames; at += frames / portions) {
      const lines = oneTo(frames / portions).map((n) =>
        node.line({ timestamp: at + n, delay: [at + n], doppler: [0], snr: [1] }),
      );
      await node.push(lines.join(""));
      await sendCalm();
    }
    const view = await until("every frame is dropped or waiting", async () => {
      const current = (await fleet.tracker("down"))!;
      const { frames_dropped: dropped, frames_waiting: waiting } = current;
      return dropped["tracker_down"]! + waiting === frames && current;
    });
    expect(view.frames).toBe(0);
    expect(view.frames_waiting).toBe(2000);
    expect(await metric('fleet_frames_dropped_total{stream="down",reason="tracker_down"}')).toBe(
      frames - 2000,
    );
    node.socket.destroy();
    await expectCalm();
  });
});

/** Opens a connection and closes it after nothing, half a line, an invalid hello, or with a reset. */
function connectBriefly(kind: number): Promise<void> {
  const socket: Socket = connect({ host: LOOPBACK, port: fleet.ports.frames });
  return new Promise((resolve) => {
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.on("data", () => {});
    socket.on("connect", () => {
      if (kind === 1) socket.write('{"node_id":"half');
      if (kind === 2) socket.write('{"type":"hello"}\n');
      if (kind === 3) socket.resetAndDestroy();
      else socket.end();
    });
  });
}
