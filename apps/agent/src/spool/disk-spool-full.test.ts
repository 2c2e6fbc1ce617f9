/** The spool on a disk that refuses writes: a tmpfs that is filled up or made read-only. Needs permission to mount. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import { DiskSpool } from "./disk-spool.ts";
import { imbalance } from "./spool-counts.ts";
import type { OnFull } from "../config/spool.ts";
import { recordingLog } from "../testing.ts";

const KIB = 1024;
let base: string;

function mount(...args: readonly string[]): boolean {
  return Bun.spawnSync(["mount", ...args], { stderr: "ignore" }).exitCode === 0;
}

function unmount(): void {
  Bun.spawnSync(["umount", "-l", base], { stderr: "ignore" });
}

const canMount = ((): boolean => {
  if (Bun.which("mount") === null) return false;
  base = mkdtempSync(join(tmpdir(), "spool-full-"));
  const can = mount("-t", "tmpfs", "-o", "size=64k", "none", base);
  unmount();
  rmSync(base, { recursive: true });
  return can;
})();

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "spool-full-"));
});
afterEach(() => {
  unmount();
  rmSync(base, { recursive: true });
});

function setUp(onFull: OnFull = "drop_oldest") {
  const clock = new FakeClock();
  const { log, lines } = recordingLog();
  const open = () =>
    new DiskSpool({
      dir: join(base, "radar"),
      bytesMax: 64 * KIB * KIB,
      memoryBytesMax: 256 * KIB,
      onFull,
      ageMaxMs: undefined,
      clock,
      log,
    });
  const spool = open();
  const append = (from: number, to: number, length = 1000): void => {
    for (let n = from; n <= to; n++) {
      const bytes = new TextEncoder().encode(`${n}:`.padEnd(length - 1, "."));
      spool.append(bytes, 0, bytes.length);
    }
    clock.advance(100);
    clock.advance(100);
  };
  const balanced = () => {
    const stats = spool.stats();
    expect(imbalance(stats)).toBe(0);
    return { ...stats, lost: Object.values(stats.dropped).reduce((a, b) => a + b, 0) };
  };
  return { spool, open, append, balanced, clock, messages: () => lines.map((l) => l.message) };
}

function numbers(spool: DiskSpool): number[] {
  const found: number[] = [];
  for (let next = 1; ;) {
    const chunk = spool.read(next, 1 << 20);
    if (chunk === undefined) return found;
    for (const line of new TextDecoder().decode(chunk.bytes).split("\n"))
      if (line !== "") found.push(Number(line.split(":")[0]));
    next = chunk.lastSeq + 1;
  }
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

const REFUSED = "the spool can't be written to disk: new frames are in memory only";
const AGAIN = "the spool is written to disk again";

describe.skipIf(!canMount)("A16: a disk that refuses", () => {
  test("is logged once; frames wait in memory, and are written when there is space again", () => {
    mount("-t", "tmpfs", "-o", "size=512k", "none", base);
    const { spool, open, append, balanced, clock, messages } = setUp();
    append(1, 100);
    writeFileSync(join(base, "other"), new Uint8Array(352 * KIB));
    for (let n = 101; n <= 200; n += 10) append(n, n + 9);
    expect(messages()).toEqual([REFUSED]);
    expect(numbers(spool)).toEqual(range(1, 200));
    rmSync(join(base, "other"));
    clock.advance(1000);
    clock.advance(1000);
    expect(messages()).toEqual([REFUSED, AGAIN]);
    expect(balanced()).toMatchObject({ held: 200, lost: 0 });
    spool.close();
    expect(numbers(open())).toEqual(range(1, 200));
  });

  test("that stays full: the oldest go, counted, and the youngest are kept", () => {
    mount("-t", "tmpfs", "-o", "size=512k", "none", base);
    const { spool, append, balanced } = setUp();
    for (let n = 1; n <= 3000; n += 20) append(n, n + 19);
    const { held, lost, dropped } = balanced();
    expect(numbers(spool)).toEqual(range(3001 - held, 3000));
    expect(dropped).toEqual({ spool_full: lost });
    expect(held).toBeGreaterThan(200);
  });

  test("that stays full, with drop_newest: the oldest are kept", () => {
    mount("-t", "tmpfs", "-o", "size=512k", "none", base);
    const { spool, append, balanced } = setUp("drop_newest");
    for (let n = 1; n <= 2000; n += 20) append(n, n + 19);
    const { held, lost } = balanced();
    expect(numbers(spool)).toEqual(range(1, held));
    expect(lost).toBe(2000 - held);
  });

  test("that becomes read-only keeps its frames; new frames wait in memory", () => {
    mount("-t", "tmpfs", "-o", "size=8m", "none", base);
    const { spool, append, balanced, clock, messages } = setUp();
    append(1, 10);
    spool.ack(2);
    clock.advance(2000);
    // A file that is open for writing would prevent the remount.
    spool.close();
    mount("-o", "remount,ro", base);
    const next = setUp();
    expect(messages()).toEqual([]);
    next.append(11, 20);
    expect(next.messages()).toContain("the spool is in memory only: its directory can't be used");
    expect(numbers(next.spool)).toEqual(range(11, 20));
    next.balanced();
    expect(balanced().held).toBe(8);
    mount("-o", "remount,rw", base);
    expect(numbers(setUp().spool)).toEqual(range(3, 10));
  });
});
