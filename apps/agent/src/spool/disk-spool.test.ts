import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import fc from "fast-check";
import { DiskSpool, type DiskSpoolOptions } from "./disk-spool.ts";
import { imbalance } from "./spool-counts.ts";
import { SensorOutput } from "../sensors/sensor-output.ts";
import { frameText, recordingLog } from "../testing.ts";

const MIB = 1024 * 1024;
const TICK_MS = 100;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

let base: string;
let dirs = 0;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "spool-"));
});
afterEach(() => rmSync(base, { recursive: true }));

const newDir = (): string => join(base, `s${dirs++}`);

/** A spool with its clock and log. */
class Bench {
  readonly clock = new FakeClock();
  readonly logged = recordingLog();
  readonly options: DiskSpoolOptions;
  readonly spool: DiskSpool;

  constructor(dir: string | undefined, options: Partial<DiskSpoolOptions> = {}) {
    this.options = {
      dir,
      bytesMax: 64 * MIB,
      memoryBytesMax: 16 * MIB,
      onFull: "drop_oldest",
      ageMaxMs: undefined,
      clock: this.clock,
      log: this.logged.log,
      ...options,
    };
    this.spool = new DiskSpool(this.options);
  }

  append(...texts: readonly string[]): void {
    for (const text of texts) {
      const bytes = encoder.encode(text);
      this.spool.append(bytes, 0, bytes.length);
    }
  }

  tick(times = 1): void {
    for (let i = 0; i < times; i++) this.clock.advance(TICK_MS);
  }

  /** Appends frames and waits until they are written as a batch. */
  commit(...texts: readonly string[]): void {
    this.append(...texts);
    this.tick(2);
  }

  /** The spool of the next run after a kill -9 of this one. */
  killed(options: Partial<DiskSpoolOptions> = {}): Bench {
    const dir = newDir();
    cpSync(this.options.dir!, dir, { recursive: true });
    this.spool.close();
    return new Bench(dir, { ...this.bounds, ...options });
  }

  restarted(): Bench {
    this.spool.close();
    return new Bench(this.options.dir, this.bounds);
  }

  all(bytesMax = 1 << 20): [seq: number, text: string][] {
    const frames: [number, string][] = [];
    for (let next = 1; ;) {
      const chunk = this.spool.read(next, bytesMax);
      if (chunk === undefined) return frames;
      const lines = decoder.decode(chunk.bytes).split("\n");
      expect(lines.pop()).toBe("");
      expect(lines.length).toBe(chunk.lastSeq - chunk.firstSeq + 1);
      for (const [i, line] of lines.entries()) frames.push([chunk.firstSeq + i, line]);
      next = chunk.lastSeq + 1;
    }
  }

  get texts(): string[] {
    return this.all().map(([, text]) => text);
  }

  /** Checks the balance and returns how many frames were dropped. */
  dropped(): number {
    const stats = this.spool.stats();
    expect(imbalance(stats)).toBe(0);
    return Object.values(stats.dropped).reduce((a, b) => a + b, 0);
  }

  get files(): string[] {
    return readdirSync(this.options.dir!)
      .filter((name) => name.endsWith(".frames"))
      .toSorted();
  }

  file(index: number): string {
    return join(this.options.dir!, this.files[index]!);
  }

  get messages(): string[] {
    return this.logged.lines.map(({ message }) => message);
  }

  private get bounds(): Partial<DiskSpoolOptions> {
    const { bytesMax, memoryBytesMax, onFull, ageMaxMs } = this.options;
    return { bytesMax, memoryBytesMax, onFull, ageMaxMs };
  }
}

const numbered = (from: number, to: number, length = 0): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `${from + i}:`.padEnd(length, "."));

describe("A16: the spool survives", () => {
  test("an orderly stop: every frame, under the same id and numbers, with the counts", () => {
    const first = new Bench(newDir());
    first.append("a", "b", "c");
    first.spool.ack(1);
    const { spoolId } = first.spool;
    const second = first.restarted();
    expect(second.spool.spoolId).toBe(spoolId);
    expect(second.all()).toEqual([
      [2, "b"],
      [3, "c"],
    ]);
    expect(second.spool.stats()).toMatchObject({ appended: 3, acked: 1, held: 2, dropped: {} });
    second.append("d");
    expect(second.all().at(-1)).toEqual([4, "d"]);
  });

  test("a kill: the frames that had waited for two ticks; the numbers of the others are never reused", () => {
    const first = new Bench(newDir());
    first.commit("a", "b");
    first.append("c");
    const second = first.killed();
    expect(second.texts).toEqual(["a", "b"]);
    expect(second.spool.stats()).toMatchObject({ appended: 2, held: 2 });
    expect(second.spool.nextSeq).toBeGreaterThan(first.spool.nextSeq);
    second.append("d");
    expect(second.texts).toEqual(["a", "b", "d"]);
    expect(second.spool.stats()).toMatchObject({ appended: 3, held: 3 });
  });

  test("a kill: frames that were acknowledged and never written are counted when the coordinator says so", () => {
    const first = new Bench(newDir());
    first.append(...numbered(1, 10));
    first.spool.ack(7);
    const second = first.killed();
    expect(second.spool.stats()).toMatchObject({ appended: 0, acked: 0, held: 0 });
    expect(second.spool.firstSeq).toBe(1);
    expect(second.spool.resume(7)).toBe(true);
    second.spool.ack(7);
    expect(second.spool.stats()).toMatchObject({ appended: 7, acked: 7, held: 0 });
    second.append("x");
    second.spool.ack(second.spool.nextSeq - 1);
    expect(second.spool.stats()).toMatchObject({ appended: 8, acked: 8, held: 0 });
  });

  test("a frame that is acknowledged at once is never written", () => {
    const bench = new Bench(newDir());
    for (let i = 1; i <= 50; i++) {
      bench.append(`frame ${i}`);
      bench.spool.ack(i);
      bench.tick();
    }
    expect(bench.files).toEqual([]);
  });

  test("after any operations, restarts and kills included: every frame has one fate, and reads return frames in order", () => {
    const operation = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant("append" as const),
          count: fc.integer({ min: 1, max: 30 }),
          length: fc.integer({ min: 0, max: 400 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          do: fc.constant("ack" as const),
          part: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
      },
      fc.record({
        do: fc.constant("reject" as const),
        part: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant("tick" as const),
          times: fc.integer({ min: 1, max: 12 }),
        }),
      },
      fc.record({ do: fc.constantFrom("restart" as const, "kill" as const) }),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(16 * 1024, 64 * 1024, 64 * MIB),
        fc.array(operation, { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 3000 }),
        (bytesMax, operations, readBytes) => {
          let bench = new Bench(newDir(), { bytesMax });
          const texts = new Map<number, string>();
          let acked = 0;
          let due = 1;
          let committed = 1;
          let n = 0;
          for (const op of operations) {
            const { spool } = bench;
            const seqs = bench.all(readBytes).map(([seq]) => seq);
            const at = (part: number): number | undefined =>
              seqs[Math.floor(part * (seqs.length - 1))];
            if (op.do === "append") {
              for (let i = 0; i < op.count; i++) {
                const text = `${++n}:`.padEnd(op.length, ".");
                texts.set(spool.nextSeq, text);
                bench.append(text);
              }
            } else if (op.do === "ack") {
              const seq = at(op.part);
              if (seq !== undefined) spool.ack((acked = seq));
            } else if (op.do === "reject") spool.reject(at(op.part) ?? 1, "bad");
            else if (op.do === "tick") {
              for (let i = 0; i < op.times; i++) {
                bench.tick();
                committed = due;
                due = spool.nextSeq;
              }
            } else if (op.do === "restart") {
              bench = bench.restarted();
              committed = due = bench.spool.nextSeq;
            } else {
              const before = bench.spool.nextSeq;
              bench = bench.killed();
              const found = new Set(bench.all().map(([seq]) => seq));
              for (const seq of texts.keys()) {
                if (seq > acked && seq < committed && bytesMax > MIB) expect(found).toContain(seq);
                if (!found.has(seq) && seq > acked) texts.delete(seq);
              }
              expect(bench.spool.nextSeq).toBeGreaterThanOrEqual(before);
              // The coordinator's welcome.
              expect(bench.spool.resume(acked)).toBe(true);
              bench.spool.ack(acked);
              committed = due = bench.spool.nextSeq;
            }
            const dropped = bench.dropped();
            const frames = bench.all(readBytes);
            for (const [seq, text] of frames) expect(text).toBe(texts.get(seq)!);
            expect(frames.map(([seq]) => seq)).toEqual(
              frames.map(([seq]) => seq).toSorted((a, b) => a - b),
            );
            expect(bench.spool.held).toBe(frames.length);
            expect(bench.spool.stats().heldBytes).toBeLessThanOrEqual(bytesMax + 8192);
            if (bytesMax < MIB) continue;
            const handled = [...texts.keys()].filter((seq) => seq <= acked).length;
            const { acked: counted, held } = bench.spool.stats();
            expect(counted + dropped + held).toBe(texts.size);
            expect(counted + dropped).toBeGreaterThanOrEqual(handled);
          }
          bench.spool.close();
        },
      ),
      { numRuns: 150 },
    );
  }, 60_000);
});

describe("A16: the youngest released frames are kept for a replay", () => {
  const goneOf = ({ spool }: Bench, bytesMax = 1 << 20): string[] => {
    const texts: string[] = [];
    for (let next = 1; ;) {
      const chunk = spool.readReleased(next, bytesMax);
      if (chunk === undefined) return texts;
      texts.push(...decoder.decode(chunk.bytes).trimEnd().split("\n"));
      next = chunk.lastSeq + 1;
    }
  };

  test.each([1, 7, 100])("acknowledged %p at a time, written to disk or not", (step) => {
    const bench = new Bench(newDir());
    const frames = numbered(1, 300, 90);
    for (let at = 0; at < 300; at += step) {
      const part = frames.slice(at, at + step);
      if (at % 2 === 0) bench.append(...part);
      else bench.commit(...part);
      bench.spool.ack(at + part.length - 1);
      expect(goneOf(bench, 500)).toEqual(frames.slice(0, at + part.length - 1));
    }
    expect(bench.texts).toEqual(frames.slice(299));
  });

  test("and no more than the bound of them", () => {
    const bench = new Bench(undefined, { memoryBytesMax: 16 * 64 * 1024 });
    const frames = numbered(1, 3000, 999);
    for (const [i, frame] of frames.entries()) {
      bench.append(frame);
      bench.spool.ack(i + 1);
    }
    const gone = goneOf(bench);
    expect(gone).toEqual(frames.slice(-gone.length));
    expect(gone.length).toBeGreaterThan(50);
    expect(gone.length).toBeLessThanOrEqual(65);
  });
});

describe("A16: damaged frames are dropped and counted, the others are used", () => {
  const batches = (): Bench => {
    const bench = new Bench(newDir());
    for (let i = 0; i < 4; i++) bench.commit(...numbered(i * 3 + 1, i * 3 + 3));
    return bench;
  };

  test("a file that is torn, at every byte of it", () => {
    const bench = batches();
    const whole = readFileSync(bench.file(0));
    const name = bench.files[0]!;
    let last = 0;
    for (let size = 0; size <= whole.length; size++) {
      const dir = newDir();
      cpSync(bench.options.dir!, dir, { recursive: true });
      truncateSync(join(dir, name), size);
      const next = new Bench(dir);
      const { length } = next.texts;
      expect(next.texts).toEqual(numbered(1, length));
      expect(length % 3).toBe(0);
      expect(length).toBeGreaterThanOrEqual(last);
      last = length;
      next.dropped();
      next.append("on");
      expect(next.texts).toEqual([...numbered(1, length), "on"]);
      next.spool.close();
      rmSync(dir, { recursive: true });
    }
    expect(last).toBe(12);
  });

  test("a flipped bit, anywhere, costs at most its batch", () => {
    const bench = batches();
    const whole = readFileSync(bench.file(0));
    const name = bench.files[0]!;
    for (let bit = 0; bit < whole.length * 8; bit += 5) {
      const dir = newDir();
      cpSync(bench.options.dir!, dir, { recursive: true });
      const bytes = Buffer.from(whole);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(join(dir, name), bytes);
      const next = new Bench(dir);
      expect(next.texts.length).toBe(9);
      expect(next.dropped()).toBeLessThanOrEqual(3);
      expect(next.texts.filter((text) => !numbered(1, 12).includes(text))).toEqual([]);
      next.spool.close();
      rmSync(dir, { recursive: true });
    }
  }, 30_000);

  test("a bit that flips in the middle while the agent runs", () => {
    const bench = batches();
    const whole = readFileSync(bench.file(0));
    whole[whole.indexOf("5:")]! ^= 1;
    writeFileSync(bench.file(0), whole);
    expect(bench.texts).toEqual([...numbered(1, 3), ...numbered(7, 12)]);
    expect(bench.spool.stats()).toMatchObject({ held: 9, dropped: { damaged: 3 } });
    expect(bench.messages).toContain("dropped damaged frames from the spool");
    bench.spool.ack(12);
    expect(bench.spool.stats()).toMatchObject({ appended: 12, acked: 9, held: 0 });
  });

  test.each([
    ["empty", Buffer.alloc(0)],
    ["noise", Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 2_654_435_761) >>> 24))],
    ["of marks without anything behind them", Buffer.from("FLTSPL01".repeat(500))],
  ])("files that are %s", (_what, bytes) => {
    const bench = batches();
    const dir = bench.options.dir!;
    writeFileSync(join(dir, "0000000000000000-00000000.frames"), bytes);
    writeFileSync(join(dir, "0000000000000002-00000000.frames"), bytes);
    writeFileSync(join(dir, "notes.txt"), bytes);
    mkdirSync(join(dir, "0000000000000003-00000000.frames"));
    symlinkSync("/etc/passwd", join(dir, "0000000000000004-00000000.frames"));
    const next = bench.killed();
    expect(next.texts).toEqual(numbered(1, 12));
    expect(next.dropped()).toBe(0);
    expect(readdirSync(next.options.dir!)).toContain("notes.txt");
    expect(next.messages.some((m) => m.includes("do not belong to the spool"))).toBe(true);
    expect(next.files).not.toContain("0000000000000002-00000000.frames");
  });

  test("2 GiB of zeros, which a power loss can leave, are not all scanned", () => {
    const bench = batches();
    bench.spool.close();
    const hollow = join(bench.options.dir!, "0000000000000002-00000000.frames");
    writeFileSync(hollow, "");
    truncateSync(hollow, 2 * 1024 * MIB);
    const next = new Bench(bench.options.dir);
    expect(next.texts).toEqual(numbered(1, 12));
    expect(next.files.length).toBe(1);
  });

  test("a manifest that can't be read: the frames continue under a new id", () => {
    const bench = batches();
    const { spoolId } = bench.spool;
    const dir = newDir();
    cpSync(bench.options.dir!, dir, { recursive: true });
    writeFileSync(join(dir, "spool.state"), "garbage");
    const next = new Bench(dir);
    expect(next.spool.spoolId).not.toBe(spoolId);
    expect(next.texts).toEqual(numbered(1, 12));
    expect(next.spool.stats()).toMatchObject({ appended: 12, held: 12 });
    expect(next.messages.some((m) => m.includes("manifest"))).toBe(true);
  });

  test("a directory that another agent has open is not used", () => {
    const bench = batches();
    const second = new Bench(bench.options.dir);
    second.append("x");
    expect(second.texts).toEqual(["x"]);
    expect(second.spool.spoolId).not.toBe(bench.spool.spoolId);
    expect(second.messages).toEqual(["the spool is in memory only: its directory can't be used"]);
  });

  test("a coordinator that is ahead, as after a restore of the directory, gets a new id", () => {
    const bench = batches();
    const { spoolId } = bench.spool;
    expect(bench.spool.resume(12)).toBe(true);
    expect(bench.spool.spoolId).toBe(spoolId);
    expect(bench.spool.resume(13)).toBe(false);
    expect(bench.spool.spoolId).not.toBe(spoolId);
    expect(bench.restarted().spool.stats()).toMatchObject({ held: 12 });
  });
});

describe("A16: at the bound", () => {
  const small = { bytesMax: 128 * 1024, memoryBytesMax: 128 * 1024 };
  const frames = numbered(1, 400, 999);

  test("drop_oldest keeps the youngest, on disk and over a restart", () => {
    const bench = new Bench(newDir(), small);
    for (const frame of frames) bench.commit(frame);
    const { texts } = bench;
    expect(texts).toEqual(frames.slice(-texts.length));
    expect(texts.length).toBeGreaterThan(80);
    expect(bench.spool.stats().dropped).toEqual({ spool_full: 400 - texts.length });
    bench.dropped();
    const next = bench.killed();
    expect(next.texts).toEqual(texts);
    expect(next.spool.stats()).toMatchObject({
      appended: 400,
      dropped: { spool_full: 400 - texts.length },
    });
  });

  test("drop_newest keeps the oldest", () => {
    const bench = new Bench(newDir(), { ...small, onFull: "drop_newest" });
    for (const frame of frames) bench.commit(frame);
    const { texts } = bench;
    expect(texts).toEqual(frames.slice(0, texts.length));
    expect(texts.length).toBeGreaterThan(100);
    expect(bench.spool.stats()).toMatchObject({
      appended: 400,
      dropped: { spool_full: 400 - texts.length },
    });
    expect(bench.restarted().spool.stats()).toMatchObject({ appended: 400, held: texts.length });
  });

  test.each([
    ["with", true],
    ["without", false],
  ])(
    "block, %s a disk: asks to wait, loses nothing of the slack, and resumes when there is room",
    async (_what, hasDir) => {
      const bench = new Bench(hasDir ? newDir() : undefined, { ...small, onFull: "block" });
      expect(bench.spool.room()).toBeUndefined();
      for (const frame of frames) bench.append(frame);
      const room = bench.spool.room();
      expect(room).toBeInstanceOf(Promise);
      expect(bench.spool.stats()).toMatchObject({ held: 400, dropped: {} });
      bench.spool.ack(390);
      await room;
      expect(bench.spool.room()).toBeUndefined();
    },
  );

  test("block makes the sensor's output wait, and no longer than the sensor lives", async () => {
    const { spool, clock, logged } = new Bench(newDir(), { ...small, onFull: "block" });
    const output = new SensorOutput({ spool, clock, log: logged.log });
    const piece = encoder.encode(`${frameText(1)}\n`.repeat(1000));
    let waiting: void | Promise<void> = undefined;
    for (let i = 0; i < 4 && waiting === undefined; i++) waiting = output.push(piece);
    expect(waiting).toBeInstanceOf(Promise);
    spool.setBlocking(false);
    await waiting;
    expect(output.push(piece)).toBeUndefined();
    const { produced, spooled } = output.counters();
    expect(spooled).toBe(produced);
  });

  test("age_max drops older frames, in memory and on disk", () => {
    for (const dir of [newDir(), undefined]) {
      const bench = new Bench(dir, { ageMaxMs: 8000 });
      bench.commit("old");
      bench.clock.advance(5000);
      bench.commit("young");
      bench.clock.advance(4500);
      bench.tick();
      expect(bench.texts).toEqual(["young"]);
      expect(bench.spool.stats()).toMatchObject({ appended: 2, held: 1, dropped: { too_old: 1 } });
    }
  });
});
