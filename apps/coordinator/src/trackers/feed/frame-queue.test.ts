import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type SentLines,
  RedeliveryBudget,
  KEEP_BYTES,
  TOTAL_BYTES_MAX,
} from "./redelivery-buffer.ts";
import { FrameQueue, QUEUE_BYTES_MAX, QUEUE_FRAMES_MAX, type Sink } from "./frame-queue.ts";

const encoder = new TextEncoder();
const bytesOf = (text: string): Uint8Array => encoder.encode(text);
const line = (n: number, size = 0): string => `${String(n).padStart(size, "0")}\n`;

function textOf(sent: readonly SentLines[]): string {
  return sent.map(({ bytes }) => Buffer.from(bytes).toString("latin1")).join("");
}

/** A tracker's socket that accepts as much as `room` allows. */
class ScriptedSink implements Sink {
  taken = "";
  room = Number.POSITIVE_INFINITY;
  writes = 0;

  write(bytes: Uint8Array): number {
    this.writes++;
    const n = Math.min(bytes.length, this.room);
    this.room -= n;
    this.taken += Buffer.from(bytes.subarray(0, n)).toString("latin1");
    return n;
  }
  end(): void {}
}

describe("a frame queue (T8)", () => {
  test("passes lines on in order, at once while the socket accepts them", () => {
    const queue = new FrameQueue();
    const sink = new ScriptedSink();
    const accepted: number[] = [];
    queue.write(bytesOf("1\n"), 1, () => accepted.push(1));
    expect(queue.waitingFrames).toBe(1);
    queue.connect(sink);
    queue.write(bytesOf("2\n3\n"), 2, () => accepted.push(3));
    expect([sink.taken, accepted, queue.framesAccepted]).toEqual(["1\n2\n3\n", [1, 3], 3]);
    expect(queue.waitingFrames).toBe(0);
  });

  test("reports acceptance at the last byte, not before, and does not write to a blocked socket", () => {
    const queue = new FrameQueue();
    const sink = new ScriptedSink();
    sink.room = 3;
    queue.connect(sink);
    let accepted = 0;
    queue.write(bytesOf("abcd\n"), 1, () => accepted++);
    queue.write(bytesOf("e\n"), 1, () => accepted++);
    expect([sink.taken, accepted, sink.writes]).toEqual(["abc", 0, 1]);
    sink.room = 1;
    queue.drained(sink);
    expect([sink.taken, accepted]).toEqual(["abcd", 0]);
    sink.room = 1;
    queue.drained(sink);
    expect(accepted).toBe(1);
    sink.room = 100;
    queue.drained(sink);
    expect([sink.taken, accepted]).toEqual(["abcd\ne\n", 2]);
  });

  test("sends the next socket again what the last one accepted, and a cut line whole (T5)", () => {
    const queue = new FrameQueue();
    const first = new ScriptedSink();
    first.room = "one\ntwo\nthree\nfo".length;
    queue.connect(first);
    const accepted: string[] = [];
    queue.write(bytesOf("one\ntwo\n"), 2, () => accepted.push("two"));
    queue.write(bytesOf("three\nfour\n"), 2, () => accepted.push("four"));
    queue.disconnect(first);
    expect(textOf(queue.redelivery())).toBe("one\ntwo\nthree\nfo");
    const second = new ScriptedSink();
    queue.connect(second);
    expect(second.taken).toBe("one\ntwo\nthree\nfour\n");
    expect(accepted).toEqual(["two", "four"]);
    expect([queue.framesAccepted, queue.framesRedelivered]).toEqual([4, 2]);
    expect(queue.bytesAccepted).toBe(second.taken.length);
  });

  test("continues with the redelivery when that is cut, too", () => {
    const queue = new FrameQueue();
    queue.write(bytesOf("one\n"), 1);
    queue.write(bytesOf("two\n"), 1);
    const sinks = [100, 6, 100].map((room) => {
      const sink = new ScriptedSink();
      sink.room = room;
      queue.connect(sink);
      queue.disconnect(sink);
      queue.write(bytesOf("new\n"), 1);
      return sink.taken;
    });
    expect(sinks).toEqual(["one\ntwo\n", "one\ntw", "one\ntwo\nnew\nnew\n"]);
    expect(queue.framesAccepted).toBe(4);
  });

  test("keeps what may be unread and a little more, and nothing after the redelivery is cleared", () => {
    const queue = new FrameQueue();
    const first = new ScriptedSink();
    queue.connect(first);
    const lines = Array.from({ length: 200 }, (_, n) => line(n, 10_000));
    for (const text of lines) queue.write(bytesOf(text), 1);
    queue.noteUnread(500_000);
    const kept = textOf(queue.redelivery());
    expect(lines.join("").endsWith(kept)).toBe(true);
    expect(kept.length).toBeGreaterThanOrEqual(500_000 + KEEP_BYTES);
    expect(kept.length).toBeLessThan(500_000 + KEEP_BYTES + 2 * 10_001);
    expect(queue.clearRedelivery()).toBe(kept.length / 10_001);
    queue.disconnect(first);
    queue.write(bytesOf("next\n"), 1);
    const second = new ScriptedSink();
    queue.connect(second);
    expect(second.taken).toBe("next\n");
  });

  test("drops a waiting redelivery when it is cleared, and keeps new frames", () => {
    const queue = new FrameQueue();
    const first = new ScriptedSink();
    queue.connect(first);
    for (let n = 0; n < 3; n++) queue.write(new Uint8Array(10_000).fill(10), 1);
    queue.disconnect(first);
    const second = new ScriptedSink();
    second.room = 15_000;
    queue.connect(second);
    queue.write(bytesOf("new\n"), 1);
    queue.disconnect(second);
    expect(queue.clearRedelivery()).toBe(3);
    const third = new ScriptedSink();
    queue.connect(third);
    expect([third.taken, queue.isFull, queue.waitingFrames]).toEqual(["new\n", false, 0]);
  });

  test("has room for new frames during a large redelivery (T1)", () => {
    const queue = new FrameQueue();
    const first = new ScriptedSink();
    queue.connect(first);
    for (let n = 0; n < 30; n++) queue.write(new Uint8Array(100_000).fill(10), 1);
    queue.disconnect(first);
    const second = new ScriptedSink();
    second.room = 0;
    queue.connect(second);
    queue.disconnect(second);
    for (let n = 0; n < 3; n++) queue.writeDroppable(bytesOf(line(n)));
    expect([queue.waitingFrames, queue.dropped.tracker_down]).toEqual([3, 0]);
    const third = new ScriptedSink();
    queue.connect(third);
    expect(third.taken.length).toBe(30 * 100_000 + 3 * 2);
    expect([queue.isFull, queue.waitingFrames]).toEqual([false, 0]);
  });

  test("keeps no more than a connection holds and 64 KiB when no reading arrives", () => {
    const queue = new FrameQueue(new RedeliveryBudget(4_000_000));
    const sink = new ScriptedSink();
    queue.connect(sink);
    let asked = 0;
    queue.onReadingDue = () => asked++;
    const chunk = bytesOf(`${"x".repeat(99_999)}\n`);
    for (let n = 0; n < 100; n++) queue.write(chunk, 1);
    expect([sink.taken.length, queue.waitingFrames, asked >= 3]).toEqual([10_000_000, 0, true]);
    const kept = textOf(queue.redelivery()).length;
    expect(kept).toBeGreaterThanOrEqual(4_000_000 + KEEP_BYTES);
    expect(kept).toBeLessThan(4_000_000 + KEEP_BYTES + 2 * chunk.length);
  });

  test("sends many slow trackers a little each when the budget is used up, and loses nothing", () => {
    const total = new RedeliveryBudget();
    const chunk = bytesOf(`${"x".repeat(128 * 1024 - 1)}\n`);
    const sinks = Array.from({ length: 500 }, () => {
      const queue = new FrameQueue(total);
      const sink = new ScriptedSink();
      queue.connect(sink);
      return { queue, sink };
    });
    for (let n = 0; n < 5; n++) for (const { queue } of sinks) queue.write(chunk, 1);
    for (const { sink } of sinks) {
      expect(sink.taken.length).toBeGreaterThanOrEqual(256 * 1024);
      expect(sink.taken.length).toBeLessThanOrEqual(384 * 1024);
    }
    expect(total.bytes).toBeLessThanOrEqual(TOTAL_BYTES_MAX + chunk.length);
    for (let n = 0; n < 3; n++) for (const { queue } of sinks) queue.noteUnread(0);
    for (const { sink } of sinks) expect(sink.taken.length).toBe(5 * chunk.length);
    for (const { queue } of sinks) queue.clearRedelivery();
    expect(total.bytes).toBe(0);
  });

  test("keeps 1 MiB when the system does not report what is read, and waits for nothing", () => {
    const queue = new FrameQueue();
    const sink = new ScriptedSink();
    queue.connect(sink);
    queue.noteUnread(undefined);
    const chunk = bytesOf(`${"x".repeat(100_000)}\n`);
    for (let n = 0; n < 300; n++) queue.write(chunk, 1);
    expect(sink.taken.length).toBe(300 * chunk.length);
    const kept = textOf(queue.redelivery()).length;
    expect([kept <= 1024 * 1024, kept > 1024 * 1024 - chunk.length]).toEqual([true, true]);
  });

  test("treats the −1 of a closed socket as nothing written", () => {
    const queue = new FrameQueue();
    queue.connect({ write: () => -1, end: () => {} });
    queue.write(bytesOf("one\n"), 1);
    const next = new ScriptedSink();
    queue.connect(next);
    expect(next.taken).toBe("one\n");
  });

  test("ignores an older socket's drain and close", () => {
    const queue = new FrameQueue();
    const [old, current] = [new ScriptedSink(), new ScriptedSink()];
    queue.connect(old);
    current.room = 0;
    queue.connect(current);
    queue.write(bytesOf("1\n"), 1);
    queue.drained(old);
    queue.disconnect(old);
    current.room = 10;
    queue.drained(current);
    expect([old.taken, current.taken]).toEqual(["", "1\n"]);
  });

  test("calls back for an empty entry in its turn, behind what was queued before", () => {
    const queue = new FrameQueue();
    const order: string[] = [];
    queue.write(bytesOf("1\n"), 1, () => order.push("frame"));
    queue.write(new Uint8Array(0), 0, () => order.push("empty"));
    expect(order).toEqual([]);
    queue.connect(new ScriptedSink());
    expect(order).toEqual(["frame", "empty"]);
  });

  test("is idle when everything is accepted", async () => {
    const queue = new FrameQueue();
    await queue.whenIdle();
    queue.write(bytesOf("1\n"), 1);
    let idle = false;
    const waiting = queue.whenIdle().then(() => (idle = true));
    await Promise.resolve();
    expect(idle).toBe(false);
    queue.connect(new ScriptedSink());
    await waiting;
    expect(idle).toBe(true);
  });
});

describe("the bounds of a frame queue (T8)", () => {
  test.each([
    ["frames", QUEUE_FRAMES_MAX, 1, (n: number) => bytesOf(line(n))],
    ["lines without frames", QUEUE_FRAMES_MAX, 0, () => new Uint8Array(0)],
    ["bytes", 16, 1, () => new Uint8Array(QUEUE_BYTES_MAX / 16)],
  ])("it is full at its limit of %s and not one before", (_what, limit, frames, make) => {
    const queue = new FrameQueue();
    for (let n = 1; n < limit; n++) queue.write(make(n), frames);
    expect(queue.isFull).toBe(false);
    queue.write(make(limit), frames);
    expect(queue.isFull).toBe(true);
    queue.connect(new ScriptedSink());
    expect(queue.isFull).toBe(false);
  });

  test("wakes a source once when there is room again, and when the tracker goes down", () => {
    const queue = new FrameQueue();
    const sink = new ScriptedSink();
    sink.room = 0;
    queue.connect(sink);
    let woken = 0;
    queue.write(bytesOf("1\n"), 1);
    queue.write(new Uint8Array(QUEUE_BYTES_MAX - 1), 1);
    queue.onRoom(() => woken++);
    sink.room = 1;
    queue.drained(sink);
    expect([queue.isFull, woken]).toEqual([true, 0]);
    for (const room of [1, 10]) {
      sink.room = room;
      queue.drained(sink);
      expect([queue.isFull, woken]).toEqual([false, 1]);
    }
    queue.onRoom(() => woken++);
    queue.disconnect(sink);
    queue.disconnect(sink);
    expect(woken).toBe(2);
    const taken = (): number => woken++;
    queue.onRoom(taken);
    queue.offRoom(taken);
    queue.connect(new ScriptedSink());
    expect(woken).toBe(2);
  });

  test("drops and counts the oldest frame of a source that cannot wait, only when full while the tracker is down", () => {
    const queue = new FrameQueue();
    for (let n = 0; n < QUEUE_FRAMES_MAX + 3; n++) queue.writeDroppable(bytesOf(line(n)));
    expect(queue.dropped.tracker_down).toBe(3);
    expect(queue.waitingFrames).toBe(QUEUE_FRAMES_MAX);
    const sink = new ScriptedSink();
    queue.connect(sink);
    expect(sink.taken.startsWith("3\n4\n")).toBe(true);
    expect(sink.taken.split("\n").length - 1).toBe(QUEUE_FRAMES_MAX);
  });

  test("drops nothing while the tracker runs, however full", () => {
    const queue = new FrameQueue();
    const sink = new ScriptedSink();
    sink.room = 0;
    queue.connect(sink);
    for (let n = 0; n < QUEUE_FRAMES_MAX + 3; n++) queue.writeDroppable(bytesOf(line(n)));
    expect(queue.dropped.tracker_down).toBe(0);
    expect(queue.waitingFrames).toBe(QUEUE_FRAMES_MAX + 3);
  });

  test("drops as many small frames as a large one needs", () => {
    const queue = new FrameQueue();
    for (let n = 0; n < 1000; n++) queue.writeDroppable(bytesOf(line(n, 500)));
    for (let n = 0; n < 20; n++) queue.writeDroppable(new Uint8Array(QUEUE_BYTES_MAX - 1));
    expect(queue.waitingFrames).toBeLessThanOrEqual(2);
    expect(queue.dropped.tracker_down).toBe(1020 - queue.waitingFrames);
  });

  test("drops a frame as a whole that an earlier socket accepted in part", () => {
    const queue = new FrameQueue();
    const first = new ScriptedSink();
    first.room = 2;
    queue.connect(first);
    queue.writeDroppable(bytesOf("cut-here\n"));
    queue.disconnect(first);
    for (let n = 1; n <= QUEUE_FRAMES_MAX; n++) queue.writeDroppable(bytesOf(line(n)));
    const second = new ScriptedSink();
    queue.connect(second);
    expect(second.taken.startsWith("1\n2\n")).toBe(true);
  });

  test("never drops frames of a source that waits for those of one that cannot", () => {
    const queue = new FrameQueue();
    for (let n = 0; n < QUEUE_FRAMES_MAX; n++) queue.write(bytesOf(line(n)), 1);
    queue.writeDroppable(bytesOf("late\n"));
    expect(queue.dropped.tracker_down).toBe(0);
    const sink = new ScriptedSink();
    queue.connect(sink);
    expect(sink.taken.endsWith("1999\nlate\n")).toBe(true);
  });
});

type Step =
  | { readonly do: "write"; readonly lines: number; readonly size: number }
  | { readonly do: "room"; readonly bytes: number }
  | { readonly do: "cut" }
  | { readonly do: "connect"; readonly bytes: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("write" as const),
    lines: fc.nat(4),
    size: fc.integer({ min: 1, max: 30 }),
  }),
  fc.record({ do: fc.constant("room" as const), bytes: fc.nat(60) }),
  fc.constant({ do: "cut" as const }),
  fc.record({ do: fc.constant("connect" as const), bytes: fc.nat(60) }),
);

test("for any writes, cuts and partial acceptances each entry is accepted once, in order, and every socket receives all lines from the first", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const queue = new FrameQueue();
      const sinks: ScriptedSink[] = [];
      const accepted: number[] = [];
      let entries = 0;
      let lines = 0;
      const connect = (bytes: number): void => {
        if (sinks.length > 0) queue.disconnect(sinks.at(-1)!);
        const sink = new ScriptedSink();
        sink.room = bytes;
        sinks.push(sink);
        queue.connect(sink);
      };
      for (const s of steps) {
        if (s.do === "write") {
          const text = Array.from({ length: s.lines }, () => line(lines++, s.size)).join("");
          const entry = entries++;
          queue.write(bytesOf(text), s.lines, () => accepted.push(entry));
        } else if (s.do === "connect") connect(s.bytes);
        else if (sinks.length > 0) {
          const sink = sinks.at(-1)!;
          if (s.do === "cut") queue.disconnect(sink);
          else {
            sink.room = s.bytes;
            queue.drained(sink);
          }
        }
        expect(accepted).toEqual(accepted.map((_, i) => i));
      }
      connect(Number.POSITIVE_INFINITY);
      expect(accepted).toHaveLength(entries);
      expect(queue.framesAccepted).toBe(lines);
      expect([queue.waitingFrames, queue.isFull]).toEqual([0, false]);
      const all = Array.from({ length: lines }, (_, n) => n);
      // So little that all of it is kept: each socket begins with the first line.
      for (const sink of sinks) {
        const whole = sink.taken.split("\n").slice(0, -1).map(Number);
        expect(whole).toEqual(all.slice(0, whole.length));
      }
      expect(sinks.at(-1)!.taken.split("\n")).toHaveLength(lines + 1);
    }),
    { numRuns: 300 },
  );
});
