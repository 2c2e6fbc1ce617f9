/** DiskSpool without a directory: every frame is in memory. */
import { expect, test } from "bun:test";
import { silentLog } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import fc from "fast-check";
import { memorySpool } from "../testing.ts";
import { imbalance } from "./spool-counts.ts";
import type { Spool } from "./spool.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function newSpool(bytesMax: number): Spool {
  return memorySpool(new FakeClock(), silentLog, bytesMax);
}

function append(spool: Spool, text: string): void {
  const bytes = encoder.encode(`x${text}\n`);
  spool.append(bytes, 1, bytes.length - 1);
}

function readAll(spool: Spool, fromSeq: number, bytesMax = 1 << 20): [seq: number, text: string][] {
  const frames: [number, string][] = [];
  let next = fromSeq;
  for (;;) {
    const chunk = spool.read(next, bytesMax);
    if (chunk === undefined) return frames;
    const lines = decoder.decode(chunk.bytes).split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.length).toBe(chunk.lastSeq - chunk.firstSeq + 1);
    for (const [index, line] of lines.entries()) frames.push([chunk.firstSeq + index, line]);
    next = chunk.lastSeq + 1;
  }
}

test("a new spool is empty and numbers from 1", () => {
  const spool = newSpool(1000);
  expect([spool.firstSeq, spool.nextSeq]).toEqual([1, 1]);
  expect(spool.read(1, 100)).toBeUndefined();
  expect(spool.stats()).toEqual({
    appended: 0,
    acked: 0,
    held: 0,
    heldBytes: 0,
    dropped: {},
  });
});

test("a read returns at most the bytes requested, but at least one frame", () => {
  const spool = newSpool(1000);
  for (const text of ["aaa", "bbb", "ccc"]) append(spool, text);
  expect(spool.read(1, 8)).toMatchObject({ firstSeq: 1, lastSeq: 2 });
  expect(spool.read(1, 7)).toMatchObject({ firstSeq: 1, lastSeq: 1 });
  expect(spool.read(2, 1)).toMatchObject({ firstSeq: 2, lastSeq: 2 });
  expect(decoder.decode(spool.read(2, 1)?.bytes)).toBe("bbb\n");
});

test("frames that exactly fill the bound stay; one byte more drops and counts the oldest frame", () => {
  const spool = newSpool(8);
  append(spool, "aaa");
  append(spool, "bbb");
  expect(spool.stats()).toMatchObject({ held: 2, heldBytes: 8, dropped: {} });
  append(spool, "");
  expect(spool.stats()).toMatchObject({ held: 2, heldBytes: 5, dropped: { spool_full: 1 } });
  expect(readAll(spool, 1)).toEqual([
    [2, "bbb"],
    [3, ""],
  ]);
});

test("a frame that is larger than the whole bound is held alone", () => {
  const spool = newSpool(8);
  append(spool, "aaa");
  append(spool, "b".repeat(200));
  expect(readAll(spool, 1)).toEqual([[2, "b".repeat(200)]]);
});

test("a read from a number that was dropped begins at the oldest frame held", () => {
  const spool = newSpool(12);
  for (const text of ["aaa", "bbb", "ccc", "ddd", "eee"]) append(spool, text);
  expect(spool.firstSeq).toBe(3);
  expect(spool.read(1, 4)).toMatchObject({ firstSeq: 3, lastSeq: 3 });
});

test("an ack of numbers that are gone, or not used yet, takes nothing away twice", () => {
  const spool = newSpool(1000);
  for (const text of ["a", "b", "c"]) append(spool, text);
  spool.ack(2);
  spool.ack(1);
  spool.ack(99);
  expect(spool.stats()).toMatchObject({ acked: 3, held: 0 });
  expect([spool.firstSeq, spool.nextSeq]).toEqual([4, 4]);
});

test("a rejected frame counts as dropped once, and never as acked", () => {
  const spool = newSpool(1000);
  for (const text of ["a", "b", "c"]) append(spool, text);
  spool.reject(2, "bad_frame");
  spool.reject(2, "bad_frame");
  expect(spool.stats()).toMatchObject({ acked: 0, held: 2, dropped: { "rejected:bad_frame": 1 } });
  spool.ack(3);
  expect(spool.stats()).toMatchObject({ acked: 2, held: 0, dropped: { "rejected:bad_frame": 1 } });
  spool.reject(2, "bad_frame");
  expect(spool.stats().dropped).toEqual({ "rejected:bad_frame": 1 });
});

test("a coordinator that invents codes can't make the counters grow without bound", () => {
  const spool = newSpool(100_000);
  for (let i = 1; i <= 100; i++) {
    append(spool, String(i));
    spool.reject(i, `code${i}${"x".repeat(100)}`);
  }
  const { dropped } = spool.stats();
  expect(Object.keys(dropped).length).toBe(17);
  expect(dropped["rejected:other"]).toBe(84);
  expect(Math.max(...Object.keys(dropped).map((key) => key.length))).toBeLessThanOrEqual(64);
});

test("every append calls the listener", () => {
  const spool = newSpool(1000);
  let told = 0;
  spool.onAppend(() => told++);
  append(spool, "a");
  append(spool, "b");
  expect(told).toBe(2);
});

test("after any operations: no frame is lost uncounted, the bound holds, and reads return the frames in order", () => {
  const operation = fc.oneof(
    fc.record({ do: fc.constant("append" as const), length: fc.integer({ min: 0, max: 90 }) }),
    fc.record({ do: fc.constant("ack" as const), back: fc.integer({ min: -2, max: 20 }) }),
    fc.record({ do: fc.constant("reject" as const), back: fc.integer({ min: -2, max: 20 }) }),
    fc.record({ do: fc.constant("read" as const), bytesMax: fc.integer({ min: 1, max: 300 }) }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 400 }),
      fc.array(operation, { maxLength: 200 }),
      (bytesMax, operations) => {
        const spool = newSpool(bytesMax);
        const texts = new Map<number, string>();
        for (const op of operations) {
          const seq = spool.nextSeq;
          if (op.do === "append") {
            texts.set(seq, `${seq}:`.padEnd(op.length, "."));
            append(spool, texts.get(seq)!);
            expect(spool.nextSeq).toBe(seq + 1);
          } else if (op.do === "ack") spool.ack(Math.max(0, seq - op.back));
          else if (op.do === "reject") spool.reject(Math.max(0, seq - op.back), "bad");
          const from = spool.firstSeq;
          const expected = Array.from({ length: spool.nextSeq - from }, (_, i) => [
            from + i,
            texts.get(from + i)!,
          ]);
          expect(readAll(spool, 1, op.do === "read" ? op.bytesMax : 100)).toEqual(
            expected as [number, string][],
          );
          const stats = spool.stats();
          const { appended, heldBytes } = stats;
          expect(imbalance(stats)).toBe(0);
          expect(appended).toBe(spool.nextSeq - 1);
          if (spool.nextSeq - spool.firstSeq > 1) expect(heldBytes).toBeLessThanOrEqual(bytesMax);
        }
      },
    ),
    { numRuns: 200 },
  );
});
