import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { FakeSpawn } from "@fleet/supervisor/testing";
import { streamId, until } from "../testing.ts";
import { endRigs, FORGET_MS, frame, Rig, type RigOptions } from "./testing.ts";

const [ONE, TWO, THREE] = [streamId("one"), streamId("two"), streamId("three")];
const HOUR_MS = 3_600_000;

const held: Bun.TCPSocketListener[] = [];
afterEach(async () => {
  for (const listener of held.splice(0)) listener.stop(true);
  await endRigs();
});

/** Another program that listens on a port. */
function hold(port: number, hostname = "127.0.0.1"): Bun.TCPSocketListener {
  const listener = Bun.listen({ hostname, port, socket: { data() {} } });
  held.push(listener);
  return listener;
}

/** Processes and time are fake; ports and the database are real. */
function playedRig(options: RigOptions = {}) {
  const clock = new FakeClock();
  const spawn = new FakeSpawn();
  return Object.assign(new Rig({ clock, spawn, ...options }), { clock, spawn });
}

describe("leases after a restart (T3)", () => {
  test("are kept; the second of two streams on one port gets another port, and so does one outside the range", async () => {
    const rig = playedRig({ ports: 3 });
    const [first, second, third] = [0, 1, 2].map((n) => rig.firstPort + n) as [
      number,
      number,
      number,
    ];
    rig.leaveRows(
      { streamId: "one", port: second },
      { streamId: "two", port: second },
      { streamId: "three", port: third + 1 },
    );
    await rig.manager.start();
    expect([ONE, TWO, THREE].map((s) => rig.row(s)?.port)).toEqual([second, null, null]);
    for (const stream of [ONE, TWO, THREE]) rig.attach(stream);
    expect([ONE, TWO, THREE].map((s) => rig.row(s)?.port)).toEqual([second, first, third]);
  });

  test("move to another port when another process listens on theirs, and the frames follow", async () => {
    const rig = new Rig();
    const port = rig.firstPort + 1;
    rig.leaveRows({ streamId: "one", port });
    hold(port, "0.0.0.0");
    await rig.manager.start();
    expect(rig.row(ONE)?.port).toBe(port);
    const tracker = rig.attach(ONE);
    tracker.offer(frame(1), 1);
    await until(() => tracker.tracks.events === 1);
    expect(rig.row(ONE)?.port).toBe(rig.firstPort);
    expect(tracker.toView().port).toBe(rig.firstPort);
  });

  test("cost one commit for all: five hundred rows are restored as they are", async () => {
    const rig = playedRig({ ports: 500 });
    const streams = Array.from({ length: 500 }, (_, n) => `s${n}`);
    rig.leaveRows(...streams.map((id, n) => ({ streamId: id, port: rig.firstPort + n, pid: 1 })));
    let commits = 0;
    const { db } = rig;
    const transaction = db.transaction.bind(db);
    db.transaction = (...args) => {
      commits++;
      return transaction(...args);
    };
    await rig.manager.start();
    expect(commits).toBe(1);
    expect(rig.manager.list().map((t) => t.toView().port)).not.toContain(null);
    expect(rig.row("s499")).toMatchObject({ pid: null, port: rig.firstPort + 499 });
  });
});

describe("a range that is full (T3)", () => {
  test("is searched again after a quarter of a second, not with every line", async () => {
    const rig = playedRig({ ports: 1 });
    await rig.manager.start();
    const stranger = hold(rig.firstPort);
    expect(rig.manager.attach(ONE)).toBe("ports_exhausted");
    stranger.stop(true);
    rig.clock.advance(249);
    expect(rig.manager.attach(ONE)).toBe("ports_exhausted");
    rig.clock.advance(1);
    expect(rig.attach(ONE).toView().port).toBe(rig.firstPort);
  });

  test("restarts a stopped stream that holds a port at once", async () => {
    const rig = playedRig({ ports: 2 });
    rig.leaveRows({ streamId: "one", port: rig.firstPort });
    hold(rig.firstPort + 1);
    await rig.manager.start();
    rig.attach(ONE);
    expect(rig.manager.attach(TWO)).toBe("ports_exhausted");
    rig.clock.advance(60_000);
    rig.manager.get(ONE)!.detach();
    rig.clock.advance(60_000);
    await until(() => rig.manager.get(ONE)?.isActive === false);
    rig.attach(ONE);
    expect(rig.manager.attach(TWO)).toBe("ports_exhausted");
  });

  test("reclaims the port of the second idlest stream when another process listens on the idlest one's", async () => {
    const rig = playedRig({ ports: 2 });
    const nowMs = rig.clock.nowMs();
    const [idlest, idle] = [rig.firstPort, rig.firstPort + 1];
    rig.leaveRows(
      { streamId: "one", port: idlest, lastFrameAt: nowMs - 2000 },
      { streamId: "two", port: idle, lastFrameAt: nowMs - 1000 },
    );
    hold(idlest);
    await rig.manager.start();
    expect(rig.attach(THREE).toView().port).toBe(idle);
    expect([rig.row(ONE)?.port, rig.row(TWO)?.port]).toEqual([null, null]);
  });
});

describe("a stream with a source whose port was taken when its tracker died (T2)", () => {
  test("gets a tracker once a port is free, although its source waits for room and sends nothing", async () => {
    const rig = playedRig({ ports: 1 });
    await rig.manager.start();
    const tracker = rig.attach(ONE);
    const other = hold(rig.firstPort);
    rig.spawn.last.exit(1);
    await until(
      () => !tracker.isActive,
      () => rig.clock.advance(20),
    );
    other.stop(true);
    rig.clock.advance(1000);
    expect(rig.spawn.processes).toHaveLength(2);
    expect(tracker.state).toBe("STARTING");
  });

  test("reclaims that of the idlest stopped stream (T3)", async () => {
    const rig = playedRig({ ports: 2 });
    rig.leaveRows({ streamId: "two", port: rig.firstPort + 1 });
    await rig.manager.start();
    const tracker = rig.attach(ONE);
    expect(tracker.toView().port).toBe(rig.firstPort);
    hold(rig.firstPort);
    rig.spawn.last.exit(1);
    await until(
      () => rig.spawn.processes.length === 2,
      () => rig.clock.advance(20),
    );
    expect([tracker.toView().port, rig.row(TWO)?.port]).toEqual([rig.firstPort + 1, null]);
  });
});

describe("rows and the config (T2)", () => {
  test("agree after a start: a stream whose entry was removed becomes an auto-provisioned one and keeps its runs", async () => {
    const rig = playedRig({ configured: ["two"] });
    rig.leaveRows(
      { streamId: "one", source: "config", run: 7 },
      { streamId: "two", source: "auto", run: 3, token: "shared-1" },
    );
    await rig.manager.start();
    expect(rig.row(ONE)).toMatchObject({ source: "auto", run: 7 });
    expect(rig.row(TWO)).toMatchObject({ source: "config", run: 3, token: null });
    expect(rig.manager.get(ONE)?.toView()).toMatchObject({ source: "auto", run: 7 });
    rig.attach(ONE);
  });

  test("without auto-provisioning admit only the streams of configured nodes and their sensors", async () => {
    const rig = playedRig({ configured: ["two"], autoProvision: false });
    rig.leaveRows({ streamId: "one" });
    await rig.manager.start();
    expect(rig.manager.attach(ONE)).toBe("unknown_node");
    expect(rig.manager.attachPushed(ONE, "shared-1")).toBe("unknown_node");
    rig.attach(TWO);
    rig.attach(streamId("two.radar"));
  });

  test("of fetched streams accept no push; those of their node's sensors do", async () => {
    const rig = playedRig({ configured: ["one"], fetched: ["one"] });
    await rig.manager.start();
    expect(rig.manager.get(ONE)?.toView()).toMatchObject({ mode: "http", url: "http://hill/d" });
    expect(rig.manager.attachPushed(ONE, "shared-1")).toBe("fetched");
    expect(rig.attach(streamId("one.radar")).toView()).toMatchObject({
      name: null,
      mode: "tcp",
      url: null,
    });
  });
});

describe("a stream that has been silent for long", () => {
  test("is forgotten with its port and its share of the token's quota, unless it is configured or younger", async () => {
    const rig = playedRig({ configured: ["three"], perTokenMax: 2 });
    const longAgo = rig.clock.nowMs() - FORGET_MS;
    const old = { port: rig.firstPort, lastFrameAt: longAgo - HOUR_MS, token: "shared-1" };
    rig.leaveRows(
      { ...old, streamId: "one" },
      { ...old, streamId: "two", port: null, lastFrameAt: longAgo + 2 * HOUR_MS },
      { streamId: "three", createdAt: 0 },
    );
    await rig.manager.start();
    const four = streamId("four");
    expect(rig.manager.attachPushed(four, "shared-1")).toBe("quota");
    expect(rig.manager.get(ONE)?.toView().port).toBe(rig.firstPort);
    rig.clock.advance(HOUR_MS);
    expect(rig.manager.list().map((t) => t.streamId)).toEqual([THREE, TWO]);
    expect([rig.row(ONE), rig.row(TWO)?.token]).toEqual([undefined, "shared-1"]);
    const tracker = rig.manager.attachPushed(four, "shared-1");
    expect(tracker).toBe(rig.manager.get(four)!);
    expect(rig.row(four)).toMatchObject({ port: rig.firstPort, token: "shared-1" });
  });

  test("releases its part of the redelivery budget", async () => {
    const rig = playedRig();
    rig.leaveRows({ streamId: "one", createdAt: rig.clock.nowMs() - FORGET_MS });
    await rig.manager.start();
    const { queue } = rig.manager.get(ONE)!;
    const sink = { write: (bytes: Uint8Array) => bytes.length, end: () => {} };
    queue.connect(sink);
    queue.write(frame(1), 1);
    queue.disconnect(sink);
    expect(rig.trackers.redeliveryBudget.bytes).toBe(frame(1).length);
    rig.clock.advance(HOUR_MS);
    expect(rig.manager.get(ONE)).toBeUndefined();
    expect(rig.trackers.redeliveryBudget.bytes).toBe(0);
  });

  test("is not forgotten while it has a source", async () => {
    const rig = playedRig();
    rig.leaveRows({ streamId: "one", createdAt: rig.clock.nowMs() - FORGET_MS - HOUR_MS });
    await rig.manager.start();
    rig.attach(ONE);
    rig.clock.advance(HOUR_MS);
    expect(rig.manager.get(ONE)?.isActive).toBe(true);
  });
});
