import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { encodeLine, type SpoolId } from "@fleet/protocol";
import { Counts } from "@fleet/daemon";
import { MEMORY, openDb } from "../../db/open.ts";
import { nodeId, RecordingLog, streamId, until } from "../../testing.ts";
import { FrameQueue } from "../../trackers/feed/frame-queue.ts";
import type { Tracker } from "../../trackers/tracker.ts";
import { Session } from "./session.ts";
import { ProgressStore } from "./stream-progress.ts";
import { frame, FramePort, lines, type Peer } from "../testing.ts";

const STREAM = "radar3.radar";

/** Takes the lines received so far. */
function taken(peer: Peer): unknown[] {
  return peer.lines.splice(0);
}

describe("an idle session", () => {
  test("repeats its last ack every 10 s, so that the agent knows it is alive", async () => {
    await using port = new FramePort();
    const peer = await port.session(await port.hello("radar3", { first_seq: 41 }));
    port.clock.advance(9_999);
    await port.tracker(STREAM);
    expect(taken(peer)).toEqual([]);
    port.clock.advance(1);
    expect(await peer.next("ack")).toEqual({ type: "ack", seq: 40 });
    port.clock.advance(10_000);
    expect(await peer.next("ack")).toEqual({ type: "ack", seq: 40 });
    peer.send(lines(frame(1)));
    const tracker = await port.tracker(STREAM);
    await until(() => tracker.lines.length === 1);
    port.clock.advance(50);
    expect(await peer.next("ack")).toEqual({ type: "ack", seq: 41 });
    port.clock.advance(9_999);
    expect(taken(peer)).toEqual([]);
    port.clock.advance(1);
    expect(await peer.next("ack")).toEqual({ type: "ack", seq: 41 });
  });

  test("is cut off when the agent has been silent for 30 s, not a moment sooner", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    port.clock.advance(29_999);
    expect(port.server.connections).toBe(1);
    port.clock.advance(1);
    await until(() => peer.closed && port.server.connections === 0);
    expect(port.counts.get("silent")).toBe(1);
    expect(port.manager.get(streamId(STREAM))?.state).toBe("OUTAGE");
  });

  test("stays open while the agent repeats its skip, which is not a frame and changes nothing", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    peer.send(lines(frame(1)));
    const tracker = await port.tracker(STREAM);
    await until(() => tracker.lines.length === 1);
    const seenAtMs = port.manager.get(streamId(STREAM))!.activity.lastFrameAtMs;
    const node = port.registry.list()[0]!;
    for (let turn = 0; turn < 12; turn++) {
      port.clock.advance(10_000);
      peer.send(encodeLine({ type: "skip", to: 2 }));
      await until(() => node.heardAtMs === port.clock.monotonicMs());
    }
    expect(peer.closed).toBe(false);
    expect(port.manager.get(streamId(STREAM))!.activity.lastFrameAtMs).toBe(seenAtMs);
    taken(peer);
    peer.send(lines(frame(2)));
    await port.until(() => peer.lines.some((l) => l.type === "ack" && l.seq === 2));
    expect(tracker.lines).toHaveLength(2);
  });
});

test("a session that is paused for a slow tracker repeats its ack, and does not count the agent's silence", () => {
  const clock = new FakeClock();
  const store = new ProgressStore(openDb(MEMORY).db, clock, new RecordingLog());
  const queue = new FrameQueue();
  let takes = false;
  const sink = { write: (bytes: Uint8Array) => (takes ? bytes.length : 0), end: () => {} };
  queue.connect(sink);
  const seen: unknown[] = [];
  const session = new Session({
    nodeId: nodeId("n"),
    link: {
      send: (line) => seen.push(JSON.parse(line)),
      pause: () => seen.push("pause"),
      resume: () => seen.push("resume"),
      end: (code) => seen.push(code),
      onDead: () => seen.push("dead"),
    },
    clock,
    tracker: { queue, detach: () => {}, offer: queue.write.bind(queue) } as unknown as Tracker,
    progress: store.open(streamId("n.s"), "spool" as SpoolId, 1),
    store,
    counts: new Counts(),
    firstSeq: 1,
  });
  const pad = "x".repeat(100_000);
  while (!queue.isFull) session.data(Buffer.from(lines(frame(1, { pad }))));
  clock.advance(60_000);
  const ack = { type: "ack", seq: 0 };
  expect(seen).toEqual(["pause", ack, ack, ack, ack, ack, ack]);
  takes = true;
  queue.drained(sink);
  clock.advance(29_999);
  expect(seen).toContain("resume");
  expect(seen).not.toContain("dead");
  clock.advance(1);
  expect(seen.at(-1)).toBe("dead");
  session.close();
  expect(clock.timers).toBe(0);
});
