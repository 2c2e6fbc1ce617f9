import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import { FakeSpawn } from "@fleet/supervisor/testing";
import { until } from "../testing.ts";
import { endRigs, frame, isAlive, Rig, STREAM } from "./testing.ts";
import type { Tracker } from "./tracker.ts";

afterEach(endRigs);

function signal(tracker: Tracker, name: NodeJS.Signals): void {
  process.kill(tracker.toView().pid!, name);
}

/** The timestamps of the events in track files, with the run that printed them. */
async function written(rig: Rig): Promise<[timestamp: number, run: number][]> {
  await rig.trackers.trackLog.stop();
  const dir = join(rig.dir.path, "tracks", STREAM);
  return readdirSync(dir)
    .flatMap((name) => readFileSync(join(dir, name), "utf8").split("\n").slice(0, -1))
    .map((text) => {
      const { timestamp, run } = JSON.parse(text) as { timestamp: number; run: number };
      return [timestamp, run];
    });
}

describe("a tracker that dies (T5)", () => {
  test("is restarted after a backoff with the next run number, and frames flow again", async () => {
    const rig = new Rig();
    await rig.manager.start();
    const tracker = rig.attach();
    tracker.offer(frame(1), 1);
    await until(() => tracker.tracks.events === 1);
    signal(tracker, "SIGKILL");
    await until(() => tracker.state === "BACKOFF");
    expect(rig.row()?.pid).toBeNull();
    tracker.offer(frame(2), 1);
    await until(() => tracker.tracks.events === 2);
    expect(tracker.toView()).toMatchObject({ state: "RUNNING", run: 2 });
    expect(tracker.tracks.list()[0]).toMatchObject({ track_id: "t2", run: 2 });
    expect(rig.row()?.run).toBe(2);
  });

  test("loses nothing that it was sent: the next run receives it, and no event is passed on twice", async () => {
    const rig = new Rig();
    await rig.manager.start();
    const tracker = rig.attach();
    for (let n = 1; n <= 3; n++) tracker.offer(frame(n), 1);
    await until(() => tracker.tracks.events === 3);
    signal(tracker, "SIGSTOP");
    let accepted = 0;
    for (let n = 4; n <= 9; n++) tracker.offer(frame(n), 1, () => accepted++);
    expect(accepted).toBe(6);
    signal(tracker, "SIGKILL");
    await until(() => tracker.tracks.events === 9);
    expect(rig.frames()).toEqual([1, 2, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect([tracker.events.repeatedEvents, tracker.toView().frames_redelivered]).toEqual([3, 9]);
    expect(tracker.queue.framesAccepted).toBe(9);
    const runs = [1, 1, 1, 2, 2, 2, 2, 2, 2];
    expect(await written(rig)).toEqual(runs.map((run, i) => [i + 1, run]));
  });

  test("again during a redelivery causes no event to be passed on twice, either", async () => {
    const rig = new Rig();
    await rig.manager.start();
    const tracker = rig.attach();
    for (let run = 1; run <= 4; run++) {
      tracker.offer(frame(run), 1);
      await until(() => tracker.tracks.events === run);
      if (run < 4) signal(tracker, "SIGKILL");
      await until(() => tracker.toView().run === Math.min(run + 1, 4));
    }
    expect(tracker.events.repeatedEvents).toBe(1 + 2 + 3);
    expect(await written(rig)).toEqual([1, 2, 3, 4].map((n) => [n, n]));
  });

  test("of the same frames run after run is not sent them for ever", async () => {
    const rig = new Rig({ mode: "dies-of-7" });
    await rig.manager.start();
    const tracker = rig.attach();
    for (const n of [6, 7, 8]) tracker.offer(frame(n), 1);
    await until(() => tracker.queue.framesAbandoned > 0);
    expect(tracker.toView().run).toBe(5);
    tracker.offer(frame(9), 1);
    await until(() => rig.frames().includes(9));
    expect(tracker.queue.framesAbandoned).toBe(3);
    expect(rig.log.lines.find((l) => l.fields["frames"] === 3)?.level).toBe("error");
    expect(rig.frames().filter((n) => n === 7)).toHaveLength(5);
  });

  test("and cannot be spawned for a while still receives its frames: only a run that was sent them counts", async () => {
    const clock = new FakeClock();
    const spawn = new FakeSpawn();
    const rig = new Rig({ clock, spawn });
    await rig.manager.start();
    const tracker = rig.attach();
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: rig.firstPort,
      socket: { data() {} },
    });
    await until(
      () => tracker.isConnected,
      () => clock.advance(20),
    );
    tracker.offer(frame(1), 1);
    spawn.fail(6);
    listener.stop(true);
    spawn.last.exit(1);
    await until(
      () => tracker.toView().run === 8,
      () => clock.advance(20),
    );
    expect(tracker.queue.framesAbandoned).toBe(0);
    expect(tracker.queue.redelivery().map(({ frames }) => frames)).toEqual([1]);
  });

  test("after a clean stop starts with new frames", async () => {
    const rig = new Rig({ extendedOutageMs: 1 });
    await rig.manager.start();
    const tracker = rig.attach();
    tracker.offer(frame(1), 1);
    await until(() => tracker.tracks.events === 1);
    tracker.detach();
    await until(() => tracker.state === "STOPPED");
    rig.attach();
    tracker.offer(frame(2), 1);
    await until(() => tracker.tracks.events === 2);
    expect(rig.frames()).toEqual([1, 2]);
    expect(tracker.toView().frames_redelivered).toBe(0);
  });
});

describe("a tracker that runs and does not work (T5)", () => {
  test("is ended when it reads nothing for long, even if little waits, and the next run receives all of it", async () => {
    const clock = new FakeClock();
    const rig = new Rig({ clock, stallTimeoutMs: 30_000 });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(
      () => tracker.isConnected,
      () => clock.advance(20),
    );
    tracker.offer(frame(1), 1);
    await until(() => tracker.tracks.events === 1);
    clock.advance(100_000);
    const { pid } = tracker.toView();
    signal(tracker, "SIGSTOP");
    tracker.offer(frame(2), 1);
    for (let s = 0; s < 29; s++) clock.advance(1000);
    expect(tracker.state).toBe("RUNNING");
    for (let s = 0; s < 13; s++) clock.advance(1000);
    expect(tracker.state).toBe("STOPPING");
    await until(
      () => tracker.tracks.events === 2,
      () => clock.advance(100),
    );
    expect(isAlive(pid!)).toBe(false);
    expect(rig.frames()).toEqual([1, 1, 2]);
  });

  test("is not ended when it has read since the last check", async () => {
    const clock = new FakeClock();
    const rig = new Rig({ clock, stallTimeoutMs: 2000 });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(
      () => tracker.isConnected,
      () => clock.advance(20),
    );
    signal(tracker, "SIGSTOP");
    tracker.offer(frame(1), 1);
    for (let s = 0; s < 6; s++) clock.advance(1000);
    signal(tracker, "SIGCONT");
    await until(() => tracker.tracks.events === 1);
    for (let s = 0; s < 10; s++) clock.advance(1000);
    expect(tracker.state).toBe("RUNNING");
  });

  test("run after run is not sent the same frames for ever", async () => {
    const clock = new FakeClock();
    const rig = new Rig({ clock, mode: "deaf", stallTimeoutMs: 30_000, stopGraceMs: 100 });
    await rig.manager.start();
    const tracker = rig.attach();
    tracker.offer(frame(1), 1);
    await until(
      () => tracker.queue.framesAbandoned > 0,
      () => clock.advance(500),
    );
    expect(tracker.queue.framesAbandoned).toBe(1);
    expect(tracker.toView().run).toBe(5);
  });

  test("is ended when it closes its connection, and restarted after a pause", async () => {
    const clock = new FakeClock();
    const rig = new Rig({ clock, mode: "hangs-up" });
    await rig.manager.start();
    const tracker = rig.attach();
    const clients = (): number => rig.recorded().filter((l) => l === "client").length;
    await until(
      () => clients() === 1 && !tracker.isConnected,
      () => clock.advance(20),
    );
    const { pid } = tracker.toView();
    await until(
      () => tracker.toView().run === 2,
      () => clock.advance(20),
    );
    expect(isAlive(pid!)).toBe(false);
    expect(clients()).toBe(1);
    void rig.stop();
    await until(
      () => !tracker.isActive,
      () => clock.advance(20),
    );
  });
});

describe("a stop (T6)", () => {
  test("keeps its deadline even when an outage has begun a slower stop", async () => {
    const clock = new FakeClock();
    const rig = new Rig({ clock, extendedOutageMs: 1000, stopGraceMs: 60_000 });
    await rig.manager.start();
    const tracker = rig.attach();
    await until(
      () => tracker.isConnected,
      () => clock.advance(20),
    );
    signal(tracker, "SIGSTOP");
    const { pid } = tracker.toView();
    tracker.offer(frame(1), 1);
    tracker.detach();
    clock.advance(1000);
    let isStopped = false;
    void rig.stop(5000).then(() => (isStopped = true));
    const endMs = clock.monotonicMs() + 5000;
    await until(
      () => isStopped || clock.monotonicMs() >= endMs,
      () => clock.advance(20),
    );
    await until(() => isStopped);
    expect(isAlive(pid!)).toBe(false);
  });

  test("waits until the tracker has read everything", async () => {
    const rig = new Rig();
    await rig.manager.start();
    const tracker = rig.attach();
    await until(() => tracker.isConnected);
    signal(tracker, "SIGSTOP");
    for (let n = 1; n <= 5; n++) tracker.offer(frame(n), 1);
    const stopped = rig.stop();
    signal(tracker, "SIGCONT");
    await stopped;
    expect(rig.frames()).toEqual([1, 2, 3, 4, 5]);
    expect((await written(rig)).length).toBe(5);
  });
});
