import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import { FakeSpawn } from "@fleet/supervisor/testing";
import { MEMORY, openDb } from "../db/open.ts";
import { trackers as trackerTable } from "../db/schema.ts";
import { streamId, until } from "../testing.ts";
import { endRigs, frame, isAlive, Rig, STREAM } from "./testing.ts";

afterEach(endRigs);

function listenOn(port: number): Bun.TCPSocketListener | undefined {
  try {
    return Bun.listen({ hostname: "127.0.0.1", port, exclusive: true, socket: { data() {} } });
  } catch {
    return undefined;
  }
}

describe("a stream's tracker (T2, T9)", () => {
  test("starts for its first source, receives the frames in order, and its events carry the run", async () => {
    const rig = new Rig();
    await rig.manager.start();
    const tracker = rig.attach();
    for (let n = 1; n <= 3; n++) tracker.offer(frame(n), 1);
    expect(tracker.state).toBe("STARTING");
    await until(() => tracker.tracks.events === 3);
    expect(rig.frames()).toEqual([1, 2, 3]);
    expect(tracker.toView()).toMatchObject({
      stream_id: STREAM,
      node_id: "radar3",
      state: "RUNNING",
      source: "auto",
      run: 1,
      frames: 3,
      events: 3,
      tracks: 3,
    });
    expect(tracker.tracks.list()[0]).toMatchObject({ track_id: "t3", length: 1, run: 1 });
    expect(rig.row()).toMatchObject({ run: 1, port: tracker.toView().port, source: "auto" });
    expect(isAlive(rig.row()!.pid!)).toBe(true);
    rig.trackers.trackLog.flush();
    const dir = join(rig.dir.path, "tracks", STREAM);
    const written = readFileSync(join(dir, readdirSync(dir)[0]!), "utf8");
    expect(
      written
        .split("\n")
        .slice(0, -1)
        .map((l) => (JSON.parse(l) as { run: number }).run),
    ).toEqual([1, 1, 1]);
    expect(rig.states).toEqual([`${STREAM} STARTING`, `${STREAM} RUNNING`]);
  });

  test("is created only for nodes in the config when auto-provisioning is off", async () => {
    const rig = new Rig({ autoProvision: false, configured: ["hill"] });
    await rig.manager.start();
    expect(rig.manager.list().map((t) => [t.streamId, t.state] as string[])).toEqual([
      ["hill", "STOPPED"],
    ]);
    expect(rig.row("hill")).toMatchObject({ source: "config", port: null });
    expect(rig.manager.attach(STREAM)).toBe("unknown_node");
    const tracker = rig.attach(streamId("hill"));
    tracker.offer(frame(1), 1);
    await until(() => rig.frames(streamId("hill")).length === 1);
  });
});

describe("a tracker that dies (T5)", () => {
  test("at once is restarted at lengthening intervals, and its stderr is logged", async () => {
    const rig = new Rig({ mode: "exits" });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.toView().run >= 3);
    const ended = rig.log.lines.find((l) => l.message === "tracker ended");
    expect(ended?.fields).toMatchObject({ exit_code: 3, stderr: ["cannot open the antenna"] });
    expect(tracker.queue.framesAccepted).toBe(0);
    await rig.stop();
    expect(tracker.state).toBe("STOPPED");
  });

  test("starts on another port when another process has taken its own", async () => {
    const rig = new Rig();
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.state === "RUNNING");
    const { port, pid } = tracker.toView();
    process.kill(pid!, "SIGKILL");
    await until(() => !tracker.isConnected);
    let taken: Bun.TCPSocketListener | undefined;
    // Between the tracker's end and its restart any process can take the port.
    await until(() => {
      taken = listenOn(port!);
      return taken !== undefined;
    });
    await until(() => tracker.state === "RUNNING" && tracker.toView().port !== port);
    tracker.offer(frame(1), 1);
    await until(() => tracker.tracks.events === 1);
    taken?.stop(true);
  });
});

describe("an outage (T4)", () => {
  test("keeps the process for a while, then stops it; the stream stays known, and a late frame starts it again", async () => {
    const rig = new Rig({ extendedOutageMs: 30 });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.state === "RUNNING");
    const { pid, port } = tracker.toView();
    tracker.detach();
    expect(tracker.state).toBe("OUTAGE");
    await until(() => tracker.state === "STOPPED");
    expect(isAlive(pid!)).toBe(false);
    expect(rig.manager.get(STREAM)).toBe(tracker);
    expect(rig.states.slice(2)).toEqual(
      ["OUTAGE", "STOPPING", "STOPPED"].map((s) => `${STREAM} ${s}`),
    );

    tracker.offer(frame(7), 1);
    await until(() => rig.frames().includes(7));
    expect(tracker.toView()).toMatchObject({ run: 2, port });
    await until(() => tracker.state === "STOPPED");
  });

  test("that ends in time changes nothing: the same process continues", async () => {
    const clock = new FakeClock();
    const spawn = new FakeSpawn();
    const rig = new Rig({ clock, spawn, extendedOutageMs: 60_000, startTimeoutMs: 1e9 });
    await rig.manager.start();
    const tracker = rig.attach();
    tracker.detach();
    clock.advance(59_999);
    expect(rig.attach()).toBe(tracker);
    clock.advance(600_000);
    tracker.detach();
    clock.advance(59_999);
    expect(spawn.last.signals).toEqual([]);
    clock.advance(1);
    await until(() => spawn.last.signals[0] === "SIGTERM");
  });

  test("a source that attaches while the process stops gets a new one, without another frame", async () => {
    const rig = new Rig({ extendedOutageMs: 10, mode: "stubborn", stopGraceMs: 150 });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.state === "RUNNING");
    tracker.detach();
    await until(() => tracker.state === "STOPPING");
    rig.attach();
    tracker.offer(frame(1), 1);
    await until(() => tracker.toView().run === 2 && rig.frames().includes(1));
  });

  test("frames of a source that attaches and detaches while the process stops get a new one, too", async () => {
    const rig = new Rig({ extendedOutageMs: 400, mode: "stubborn", stopGraceMs: 150 });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.state === "RUNNING");
    tracker.detach();
    await until(() => tracker.state === "STOPPING");
    rig.attach();
    tracker.offer(frame(1), 1);
    tracker.detach();
    await until(() => tracker.toView().run === 2 && rig.frames().includes(1));
    await until(() => tracker.state === "STOPPED");
  });
});

describe("ports (T3)", () => {
  test("that run out cause refusals, logged once a minute for each node, and affect no other stream", async () => {
    const clock = new FakeClock();
    const spawn = new FakeSpawn();
    const rig = new Rig({ clock, spawn, ports: 1 });
    await rig.manager.start();
    rig.attach();
    const message = "no port left for a tracker, stream refused";
    for (let n = 0; n < 5; n++)
      expect(rig.manager.attach(streamId("hill"))).toBe("ports_exhausted");
    expect(rig.manager.attach(streamId("hill.other"))).toBe("ports_exhausted");
    expect(rig.log.count(message)).toBe(1);
    expect(rig.manager.attach(streamId("dale"))).toBe("ports_exhausted");
    expect(rig.log.count(message)).toBe(2);
    clock.advance(60_000);
    rig.manager.attach(streamId("hill"));
    expect(rig.log.count(message)).toBe(3);
    expect(rig.manager.refused.ports_exhausted).toBe(8);
    expect(rig.manager.list()).toHaveLength(1);
  });

  test("are reclaimed from the stopped stream that has been idle longest, never from a running one", async () => {
    const db = openDb(MEMORY).db;
    const clock = new FakeClock();
    const createdAt = clock.nowMs() - 1e6;
    const row = {
      source: "auto" as const,
      run: 4,
      pid: null,
      pidStart: null,
      bootId: null,
      createdAt,
    };
    const rig = new Rig({ db, clock, spawn: new FakeSpawn(), ports: 3 });
    const ports = [0, 1, 2].map((n) => rig.firstPort + n);
    db.insert(trackerTable)
      .values([
        { ...row, streamId: "recent", port: ports[0]!, lastFrameAt: clock.nowMs() - 10 },
        { ...row, streamId: "idlest", port: ports[1]!, lastFrameAt: clock.nowMs() - 5000 },
      ])
      .run();
    await rig.manager.start();
    rig.attach(streamId("one"));
    expect(rig.manager.get(streamId("one"))?.toView().port).toBe(ports[2]);
    rig.attach(streamId("two"));
    expect(rig.manager.get(streamId("two"))?.toView().port).toBe(ports[1]);
    expect(rig.row("idlest")?.port).toBeNull();
    expect(rig.row("recent")?.port).toBe(ports[0]);
    rig.attach(streamId("three"));
    expect(rig.manager.attach(streamId("recent"))).toBe("ports_exhausted");
    expect(rig.manager.get(streamId("idlest"))?.toView()).toMatchObject({ run: 4, port: null });
  });

  test("and run numbers survive a restart", async () => {
    const db = openDb(MEMORY).db;
    const rig = new Rig({ db });
    await rig.manager.start();
    const tracker = rig.attach();
    tracker.offer(frame(1), 1);
    await until(() => tracker.tracks.events === 1);
    await rig.stop();
    expect(rig.row()).toMatchObject({
      pid: null,
      run: 1,
      lastFrameAt: tracker.activity.lastFrameAtMs,
    });
    expect(rig.row()?.lastFrameAt).not.toBeNull();
  });
});

describe("a bad tracker affects only its own stream", () => {
  test("one that never listens is ended as a failure and restarted", async () => {
    const rig = new Rig({ mode: "mute", startTimeoutMs: 150 });
    await rig.manager.start();
    const tracker = rig.attach();
    tracker.offer(frame(1), 1);
    await until(() => tracker.toView().run >= 2);
    expect(tracker.queue.framesAccepted).toBe(0);
    expect(tracker.queue.waitingFrames).toBe(1);
  });

  test("one that never reads fills only its own queue, and is ended at a stop", async () => {
    const rig = new Rig({ mode: "deaf", stopGraceMs: 200 });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.isConnected);
    const pad = "x".repeat(50_000);
    for (let n = 0; n < 1000 && !tracker.queue.isFull; n++) tracker.offer(frame(n, pad), 1);
    expect(tracker.queue.isFull).toBe(true);
    const { pid } = tracker.toView();
    await rig.stop(600);
    expect(isAlive(pid!)).toBe(false);
  });

  test("one that floods its output is read within bounds of memory and disk, and can be stopped", async () => {
    const rig = new Rig({ mode: "floods" });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.tracks.events > 3000);
    expect(tracker.tracks.tracks).toBe(1);
    expect(tracker.events.badLines).toBeGreaterThan(1000);
    const { pid } = tracker.toView();
    await rig.stop();
    expect(isAlive(pid!)).toBe(false);
    const dir = join(rig.dir.path, "tracks", STREAM);
    expect(readdirSync(dir).length).toBeLessThanOrEqual(12);
  });

  test("one that cannot be spawned is retried until a stop", async () => {
    const spawn = new FakeSpawn();
    const clock = new FakeClock();
    const rig = new Rig({ spawn, clock });
    spawn.fail(3);
    await rig.manager.start();
    const tracker = rig.attach();
    expect(tracker.state).toBe("BACKOFF");
    await until(
      () => spawn.processes.length === 1,
      () => clock.advance(50),
    );
    expect(tracker.toView().run).toBe(4);
  });
});

describe("a stop (T6)", () => {
  test("drains the queue into the tracker before it ends the process", async () => {
    const rig = new Rig();
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.isConnected);
    const pad = "x".repeat(10_000);
    for (let n = 1; n <= 300; n++) tracker.offer(frame(n, pad), 1);
    const { pid } = tracker.toView();
    await rig.stop();
    expect(tracker.queue.waitingFrames).toBe(0);
    expect(isAlive(pid!)).toBe(false);
    expect(rig.row()?.pid).toBeNull();
  });

  test("is final: no source and no frame starts a tracker again", async () => {
    const rig = new Rig({ clock: new FakeClock(), spawn: new FakeSpawn() });
    await rig.manager.start();
    rig.attach();
    await rig.stop();
    expect(rig.manager.attach(STREAM)).toBe("draining");
    rig.manager.get(STREAM)?.offer(frame(1), 1);
    rig.manager.get(STREAM)?.detach();
    expect(rig.manager.get(STREAM)?.isActive).toBe(false);
  });
});
