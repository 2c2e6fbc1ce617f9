import { describe, expect, test } from "bun:test";
import { ACK_INTERVAL_MS, encodeLine, WINDOW_BYTES } from "@fleet/protocol";
import fc from "fast-check";
import { streamId, until } from "../../testing.ts";
import { frame, FramePort, lines, type Peer } from "../testing.ts";

const STREAM = streamId("radar3.radar");
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);
const frames = (from: number, to: number): string =>
  lines(...numbers(from, to).map((n) => frame(n)));

/** The numbers of the frames that a tracker has received. */
function numbersOf(received: readonly string[]): number[] {
  return received.map((text) => (JSON.parse(text) as { timestamp: number }).timestamp - 1000);
}

async function acked(port: FramePort, peer: Peer, seq: number): Promise<void> {
  let last = 0;
  await port.until(() => {
    for (const line of peer.lines.splice(0)) if (line.type === "ack") last = line.seq;
    return last >= seq;
  });
  expect(last).toBe(seq);
}

describe("a session (T1, T8)", () => {
  test("passes frames on byte for byte and acknowledges them at most 50 ms after the first", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    const sent = lines(
      frame(1),
      `{ "snr":[ 1.50 ],"delay":[2],"doppler":[3], "timestamp":7 , "x":1}`,
    );
    peer.send(sent);
    const tracker = await port.tracker(STREAM);
    await until(() => tracker.received.length >= sent.length);
    expect(tracker.received).toBe(sent);
    port.clock.advance(ACK_INTERVAL_MS - 1);
    expect(peer.lines).toEqual([]);
    port.clock.advance(1);
    expect(await peer.next("ack")).toEqual({ type: "ack", seq: 2 });
    expect(peer.lines).toEqual([]);
  });

  test("acknowledges every quarter window without waiting for the clock", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    const big = frame(1, { pad: "x".repeat(100_000) });
    const count = Math.ceil(WINDOW_BYTES / 4 / (big.length + 1));
    peer.send(lines(...Array.from({ length: count }, () => big)));
    expect((await peer.next("ack")).seq).toBeGreaterThan(count - 4);
  });

  test("accepts frames cut anywhere, byte by byte too", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    const tracker = await port.tracker(STREAM);
    const sent = frames(1, 3);
    let passed = 0;
    for (const byte of new TextEncoder().encode(sent)) {
      peer.send(new Uint8Array([byte]));
      if (byte === 10) passed++;
      await until(() => tracker.lines.length >= passed);
    }
    expect(tracker.received).toBe(sent);
    await acked(port, peer, 3);
  });

  test("numbers and rejects lines that are not frames, and acknowledges past them", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    peer.send(lines(frame(1), "garbage", `{"timestamp":"x"}`, "", frame(5)));
    await acked(port, peer, 5);
    const tracker = await port.tracker(STREAM);
    expect(numbersOf(tracker.lines)).toEqual([1, 5]);
    peer.send(lines("garbage"));
    expect(await peer.next("rejected")).toEqual({ type: "rejected", seq: 6, code: "bad_frame" });
    await acked(port, peer, 6);
    expect(port.counts.get("bad_json")).toBe(3);
    expect(port.counts.get("bad_timestamp")).toBe(1);
  });

  test("skips a line over 1 MiB, counts it, and continues after it", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    peer.send(lines(frame(1), frame(2, { pad: "x".repeat(1024 * 1024) }), frame(3)));
    expect(await peer.next("rejected")).toMatchObject({ seq: 2 });
    await acked(port, peer, 3);
    const tracker = await port.tracker(STREAM);
    expect(numbersOf(tracker.lines)).toEqual([1, 3]);
    expect(port.counts.get("too_long")).toBe(1);
  });

  test("sends trackers ASCII only: other letters as escapes, invalid UTF-8 not at all", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    peer.send(lines(frame(1), frame(2, { site: "Zürich" }), frame(3)));
    peer.send(
      Buffer.from(`{"timestamp":1,"delay":[],"doppler":[],"snr":[],"x":"\xff"}\n`, "latin1"),
    );
    await acked(port, peer, 4);
    const tracker = await port.tracker(STREAM);
    expect(tracker.received).toContain(String.raw`Z\u00fcrich`);
    expect(numbersOf(tracker.lines)).toEqual([1, 2, 3]);
  });

  test("counts as hearing the node (R5)", async () => {
    await using port = new FramePort();
    port.clock.advance(100_000);
    const peer = await port.session();
    const node = port.registry.get((await port.hello()).node_id)!;
    node.heardAtMs = port.clock.monotonicMs() - 100_000;
    expect(port.registry.stateOf(node)).toBe("STALE");
    peer.send(frames(1, 1));
    await until(() => port.registry.stateOf(node) === "LIVE");
  });
});

describe("skip", () => {
  test("advances the numbering, and what was skipped is acknowledged", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    peer.send(lines(frame(1), `{"type":"skip","to":100}`, frame(100)));
    await acked(port, peer, 100);
    peer.send(encodeLine({ type: "skip", to: 500 }));
    await acked(port, peer, 499);
    const tracker = await port.tracker(STREAM);
    expect(numbersOf(tracker.lines)).toEqual([1, 100]);
  });

  test.each([`{"type":"skip","to":1}`, `{"type":"skip"}`, `{"type":"skip","to":"9"}`])(
    "%p after two frames ends the session, and what came before it is kept",
    async (skip) => {
      await using port = new FramePort();
      const peer = await port.session();
      peer.send(lines(frame(1), frame(2), skip, frame(3)));
      expect(await peer.next("bye")).toEqual({ type: "bye", code: "bad_session" });
      await until(() => peer.closed);
      const tracker = await port.tracker(STREAM);
      await until(() => tracker.lines.length === 2);
      expect(numbersOf(tracker.lines)).toEqual([1, 2]);
      expect(port.counts.get("bad_skip")).toBe(1);
    },
  );
});

describe("after a cut", () => {
  test("the agent continues after what was accepted, and what it sends again reaches the tracker once", async () => {
    await using port = new FramePort();
    const hello = await port.hello();
    const first = await port.session(hello);
    first.send(frames(1, 10));
    await acked(port, first, 10);
    first.close();
    const second = await port.connect();
    second.send(encodeLine({ ...hello, first_seq: 5 }));
    expect(await second.next("welcome")).toMatchObject({ acked: 10 });
    second.send(frames(11, 12));
    await acked(port, second, 12);
    const tracker = await port.tracker(STREAM);
    expect(numbersOf(tracker.lines)).toEqual(numbers(1, 12));
  });

  test("frames that were queued and not accepted are not taken twice, and the new connection receives their ack", async () => {
    await using port = new FramePort({ trackers: "down" });
    const hello = await port.hello();
    const first = await port.session(hello);
    first.send(frames(1, 10));
    const tracker = port.manager.get(STREAM)!;
    await until(() => tracker.queue.waitingFrames === 10);
    first.close();
    const second = await port.connect();
    second.send(encodeLine(hello));
    expect(await second.next("welcome")).toMatchObject({ acked: 0 });
    second.send(frames(1, 10));
    await until(() => port.counts.get("duplicate") === 10);
    port.trackers = "up";
    port.spawn.last.exit(1);
    await acked(port, second, 10);
    expect(numbersOf((await port.tracker(STREAM)).lines)).toEqual(numbers(1, 10));
  });

  test("no ack is ahead of what this connection has sent", async () => {
    await using port = new FramePort({ trackers: "down" });
    const hello = await port.hello();
    const first = await port.session(hello);
    first.send(frames(1, 10));
    const tracker = port.manager.get(STREAM)!;
    await until(() => tracker.queue.waitingFrames === 10);
    first.close();
    const second = await port.session(hello);
    second.send(frames(1, 4));
    await until(() => port.counts.get("duplicate") === 4);
    port.trackers = "up";
    port.spawn.last.exit(1);
    await acked(port, second, 4);
    second.send(frames(5, 11));
    await acked(port, second, 11);
    expect(numbersOf((await port.tracker(STREAM)).lines)).toEqual(numbers(1, 11));
  });

  test("another spool has its own numbers, which do not mix with frames of the old one that still wait", async () => {
    await using port = new FramePort({ trackers: "down" });
    const first = await port.session();
    first.send(frames(1, 3));
    const tracker = port.manager.get(STREAM)!;
    await until(() => tracker.queue.waitingFrames === 3);
    first.close();
    const second = await port.session(await port.hello("radar3", { spool_id: "spool2" }));
    second.send(frames(1, 2));
    await until(() => tracker.queue.waitingFrames === 5);
    port.trackers = "up";
    port.spawn.last.exit(1);
    await acked(port, second, 2);
    expect(numbersOf((await port.tracker(STREAM)).lines)).toEqual([1, 2, 3, 1, 2]);
  });

  test("a spool that begins after what was acknowledged is believed", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(encodeLine(await port.hello("radar3", { first_seq: 1041 })));
    expect(await peer.next("welcome")).toEqual({
      type: "welcome",
      acked: 1040,
      window_bytes: WINDOW_BYTES,
    });
    peer.send(frames(1, 1));
    await acked(port, peer, 1041);
  });

  test("of the coordinator itself, the agent continues from the progress of the last second", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    peer.send(frames(1, 5));
    await acked(port, peer, 5);
    port.clock.advance(1000);
    await using next = new FramePort({ db: port.db });
    const again = await next.connect();
    again.send(encodeLine(await next.hello()));
    expect(await again.next("welcome")).toMatchObject({ acked: 5 });
  });

  test("for any cuts, the tracker receives each frame once and in order", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ send: fc.nat(12), back: fc.nat(6) }), { minLength: 1, maxLength: 5 }),
        async (cuts) => {
          await using port = new FramePort();
          const hello = await port.hello();
          let sent = 0;
          for (const { send, back } of cuts) {
            const peer = await port.connect();
            const firstSeq = Math.max(1, sent + 1 - back);
            peer.send(encodeLine({ ...hello, first_seq: firstSeq }));
            const { acked: from } = await peer.next("welcome");
            const to = Math.max(from, sent) + send;
            const bytes = new TextEncoder().encode(frames(from + 1, to));
            // The last line may be cut in the middle.
            const cut = send > 0 ? bytes.length - 3 : bytes.length;
            peer.send(bytes.subarray(0, cut));
            sent = send > 0 ? to - 1 : to;
            const progress = port.uplinks.progress.open(STREAM, "spool1" as never, 1);
            await port.until(() => progress.accepted >= sent);
            peer.close();
          }
          const tracker = await port.tracker(STREAM);
          await until(() => tracker.lines.length >= sent);
          expect(numbersOf(tracker.lines)).toEqual(numbers(1, sent));
        },
      ),
      { numRuns: 15 },
    );
  }, 20_000);
});

describe("a slow tracker (T8)", () => {
  test("pauses its own stream only, and loses nothing", async () => {
    await using port = new FramePort({ trackers: "deaf" });
    const slow = await port.session(await port.hello("slow"));
    const deaf = await port.tracker("slow.radar");
    port.trackers = "up";
    const quick = await port.session(await port.hello("quick"));
    const line = frame(1, { pad: "x".repeat(50_000) });
    const count = 700;
    slow.send(lines(...Array.from({ length: count }, () => line)));
    const tracker = port.manager.get("slow.radar" as never)!;
    await port.until(() => tracker.queue.isFull);
    quick.send(frames(1, 3));
    await acked(port, quick, 3);
    expect(slow.waiting).toBeGreaterThan(0);
    expect(tracker.queue.waitingFrames).toBeLessThan(100);
    deaf.countOnly = true;
    deaf.reads(true);
    await acked(port, slow, count);
    expect(deaf.bytes).toBe(count * (line.length + 1));
    expect(tracker.queue.dropped.tracker_down).toBe(0);
  });

  test("that is down is not filled with bad lines: a session of mostly these is ended", async () => {
    await using port = new FramePort({ trackers: "down" });
    const peer = await port.session();
    const tracker = port.manager.get(STREAM)!;
    const bad = lines(...Array.from({ length: 20_000 }, () => `{"type":"nonsense","at":1}`));
    peer.send(bad);
    await until(() => peer.closed);
    expect(port.counts.get("mostly_junk")).toBe(1);
    expect(tracker.queue.waitingFrames).toBe(0);
    expect(tracker.queue.isFull).toBe(false);
  });

  test("whose session has ended still receives what was queued", async () => {
    await using port = new FramePort({ trackers: "deaf" });
    const peer = await port.session();
    const deaf = await port.tracker(STREAM);
    const line = frame(1, { pad: "x".repeat(50_000) });
    peer.send(lines(...Array.from({ length: 400 }, () => line)));
    const tracker = port.manager.get(STREAM)!;
    await port.until(() => tracker.queue.isFull);
    const enqueued = port.uplinks.progress.open(STREAM, "spool1" as never, 1).enqueued;
    peer.close();
    deaf.countOnly = true;
    deaf.reads(true);
    await until(() => tracker.queue.framesAccepted >= enqueued);
  });
});

test("a session of line feeds is ended after 1000 of them, and its answers are sent together (H12)", async () => {
  await using port = new FramePort();
  const peer = await port.session();
  peer.send("\n".repeat(500_000));
  await until(() => peer.closed);
  expect(port.counts.get("mostly_junk")).toBe(1);
  expect(port.counts.get("bad_json")).toBe(1001);
  expect(peer.lines.filter((line) => line.type === "rejected")).toHaveLength(1001);
  expect(peer.lines.at(-1)).toEqual({ type: "bye", code: "bad_session" });
});

test("bad lines between at least as many frames end no session (H12)", async () => {
  await using port = new FramePort();
  const peer = await port.session();
  peer.send(lines(...Array.from({ length: 4000 }, (_, i) => (i % 2 === 0 ? frame(i) : "x"))));
  await until(() => port.counts.get("bad_json") === 2000);
  expect(peer.closed).toBe(false);
});

test("an agent that reads no answers is cut off when too many wait", async () => {
  await using port = new FramePort();
  const peer = await port.session();
  peer.pause();
  const bad = lines(...Array.from({ length: 10_000 }, (_, i) => (i % 2 === 0 ? frame(i) : "x")));
  await until(
    () => port.counts.get("slow_reader") > 0,
    () => {
      if (peer.waiting === 0) peer.send(bad);
    },
  );
  await until(() => port.server.connections === 0);
});
