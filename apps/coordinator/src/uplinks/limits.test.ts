import { describe, expect, test } from "bun:test";
import { closeSync, openSync, readdirSync } from "node:fs";
import { until } from "../testing.ts";
import { frame, FramePort, lines, type Peer, PUSH } from "./testing.ts";

const HEARTBEAT = `{"node_id":"hill","token":"${PUSH}","type":"heartbeat"}`;

async function authenticated(port: FramePort): Promise<Peer> {
  const peer = await port.connect();
  const before = port.registry.list()[0]?.heardAtMs;
  // A clock that has moved shows that this one was heard, not another before it.
  port.clock.advance(1);
  peer.send(lines(HEARTBEAT));
  await until(() => (port.registry.list()[0]?.heardAtMs ?? before) !== before);
  return peer;
}

describe("connections (T1)", () => {
  test("beyond the limit are closed at once, and one that closes makes room", async () => {
    await using port = new FramePort({ connectionsMax: 2 });
    const [first] = [await authenticated(port), await authenticated(port)];
    const third = await port.connect();
    await until(() => third.closed);
    expect(port.counts.get("too_many_connections")).toBe(1);
    first.close();
    await until(() => port.server.connections === 1);
    const fourth = await port.session();
    expect(fourth.closed).toBe(false);
  });

  test("of one address beyond its limit are closed at once, the loopback's too, and one that closes makes room", async () => {
    await using port = new FramePort({ perAddressMax: 2 });
    const [first] = [await authenticated(port), await authenticated(port)];
    const third = await port.connect();
    await until(() => third.closed);
    expect(port.counts.get("too_many_from_address")).toBe(1);
    first.close();
    await until(() => port.server.connections === 1);
    expect((await authenticated(port)).closed).toBe(false);
  });

  test("that have not authenticated take a quarter of the places; the oldest gives way, authenticated ones stay", async () => {
    await using port = new FramePort({ connectionsMax: 12 });
    const known = await port.session();
    const strangers: Peer[] = [];
    for (let n = 1; n <= 3; n++) {
      strangers.push(await port.connect());
      await until(() => port.server.connections === 1 + n);
    }
    const late = await port.session(await port.hello("late"));
    await until(() => strangers[0]!.closed);
    expect(strangers.slice(1).map((s) => s.closed)).toEqual([false, false]);
    expect(port.counts.get("crowded_out")).toBe(1);
    strangers.push(await port.connect());
    await until(() => port.server.connections === 5);
    expect(port.counts.get("crowded_out")).toBe(1);
    for (let n = 0; n < 100; n++) strangers.push(await port.connect());
    await until(() => port.counts.get("crowded_out") === 101);
    for (const [peer, stream] of [
      [known, "radar3.radar"],
      [late, "late.radar"],
    ] as const) {
      peer.send(lines(frame(1)));
      const tracker = await port.tracker(stream);
      await until(() => tracker.lines.length === 1);
    }
  });

  test("that would take the last descriptors are closed, so that other files can be opened", async () => {
    // The lowest free descriptor; some above it may be taken.
    const free = openSync("/dev/null", "r");
    closeSync(free);
    await using port = new FramePort({ descriptorMax: free + 20 });
    const peers: Peer[] = [];
    for (let n = 0; n < 30; n++) peers.push(await port.connect());
    await until(() => port.counts.get("out_of_descriptors") > 0);
    expect(port.log.count("frames: connection refused")).toBe(1);
    for (const peer of peers) peer.close();
    await until(() => port.server.connections === 0);
    expect((await port.session()).closed).toBe(false);
  });

  test("that are refused are counted by reason and logged once a minute for each address", async () => {
    await using port = new FramePort({ perAddressMax: 1 });
    await authenticated(port);
    for (let n = 0; n < 5; n++) {
      const peer = await port.connect();
      await until(() => peer.closed);
    }
    expect(port.log.count("frames: connection refused")).toBe(1);
    port.clock.advance(60_000);
    const peer = await port.connect();
    await until(() => peer.closed);
    expect(port.counts.get("too_many_from_address")).toBe(6);
    expect(port.log.count("frames: connection refused")).toBe(2);
  });

  test("10 000 that open and close leave no descriptor, timer or connection behind", async () => {
    await using port = new FramePort({ connectionsMax: 1000 });
    const descriptors = (): number => readdirSync("/proc/self/fd").length;
    const storm = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n += 50) {
        const peers = await Promise.all(Array.from({ length: 50 }, () => port.connect()));
        for (const peer of peers) peer.close();
      }
      await until(() => port.server.connections === 0);
    };
    await storm(1000);
    const before = { descriptors: descriptors(), timers: port.clock.timers };
    Bun.gc(true);
    const rssBefore = process.memoryUsage.rss();
    await storm(10_000);
    expect({ descriptors: descriptors(), timers: port.clock.timers }).toEqual(before);
    Bun.gc(true);
    // 1 KiB for each connection would be 10 MB. The limit is generous because the allocator releases memory late.
    expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(64 * 1024 * 1024);
  }, 30_000);
});
