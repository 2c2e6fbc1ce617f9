import { describe, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import type { StreamId } from "@fleet/protocol";
import { RecordingLog, streamId, tempDir, until } from "../../testing.ts";
import { TrackLog, type TrackLogLimits } from "./track-log.ts";

const HILL = streamId("hill");
const TODAY = "2026-07-08.jsonl";
const NOON = Date.UTC(2026, 6, 8, 12);
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const LOST = "writing track files fails, events are lost";
const AGAIN = "writing track files works again";

/** A track log in a directory that other programs change. */
class Rig {
  readonly clock = new FakeClock(NOON);
  readonly log = new RecordingLog();
  readonly output: TrackLog;
  readonly root: string;

  constructor(root: string, limits: Partial<TrackLogLimits> = {}) {
    this.root = root;
    const all = { rotateBytes: 1e6, keepDays: 14, totalBytesMax: 1e9, ...limits };
    this.output = new TrackLog(root, all, this.clock, this.log);
    this.output.start();
  }

  queue(id: string, stream = HILL, pad = 0): void {
    const line = Buffer.from(JSON.stringify({ track_id: id, pad: "x".repeat(pad) }));
    this.output.write(stream, line, 0, line.length, 1);
  }

  /** Writes one event. */
  event(id: string, stream = HILL, pad = 0): void {
    this.queue(id, stream, pad);
    this.output.flush();
  }

  path(name = TODAY, stream: string = HILL): string {
    return join(this.root, stream, name);
  }

  ids(name = TODAY, stream: string = HILL): string[] {
    return idsIn(this.path(name, stream));
  }

  bytes(): number {
    const found = [...new Bun.Glob("*/*").scanSync({ cwd: this.root })];
    return found.reduce((sum, path) => sum + Bun.file(join(this.root, path)).size, 0);
  }
}

/** Throws when a line is not whole. */
function idsIn(path: string): string[] {
  const lines = readFileSync(path, "utf8").split("\n");
  expect(lines.pop()).toBe("");
  return lines.map((line) => (JSON.parse(line) as { track_id: string }).track_id);
}

/** Files below `root` that this process has open. */
function openBelow(root: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(root);
    } catch {
      return false;
    }
  }).length;
}

function streams(count: number): StreamId[] {
  return Array.from({ length: count }, (_, n) => streamId(`s${n}`));
}

describe("other programs in the directory (T9)", () => {
  test("that remove the file, the stream's directory or everything cost what was in them, and no later event", () => {
    using dir = tempDir();
    const rig = new Rig(join(dir.path, "tracks"));
    rig.event("a");
    rmSync(rig.path());
    rig.event("b");
    expect(rig.ids()).toEqual(["b"]);
    rmSync(join(rig.root, HILL), { recursive: true });
    rig.event("c");
    expect(rig.ids()).toEqual(["c"]);
    rmSync(rig.root, { recursive: true });
    rig.event("d");
    expect(rig.ids()).toEqual(["d"]);
    expect([rig.output.lost, rig.log.count(LOST)]).toEqual([0, 0]);
  });

  test("that move a file away receive events until its day is over; an emptied file holds whole lines again", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    rig.event("a");
    renameSync(rig.path(), rig.path("mine"));
    rig.event("b");
    expect(rig.ids("mine")).toEqual(["a", "b"]);
    truncateSync(rig.path("mine"));
    rig.event("c");
    expect(rig.ids("mine")).toEqual(["c"]);
  });

  test("whose files cannot be removed are logged once, and the bound of other files holds", () => {
    using dir = tempDir();
    mkdirSync(join(dir.path, HILL, "2020-01-01.jsonl", "deep"), { recursive: true });
    writeFileSync(join(dir.path, HILL, "2020-01-02.jsonl"), "old\n");
    const rig = new Rig(dir.path);
    rig.clock.advance(3 * MINUTE_MS);
    expect(rig.log.count("removing old track files fails")).toBe(1);
    expect(readdirSync(join(dir.path, HILL))).toEqual(["2020-01-01.jsonl"]);
  });

  test("do not keep an empty directory: it is removed with the last file of its stream", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path, { keepDays: 1 });
    rig.event("a");
    rig.event("a", streamId("dale"));
    writeFileSync(join(dir.path, "dale", "notes"), "mine");
    rig.clock.advance(MINUTE_MS);
    rig.clock.jumpWall(3 * DAY_MS);
    rig.clock.advance(2 * MINUTE_MS);
    expect(readdirSync(dir.path)).toEqual(["dale"]);
    expect(readdirSync(join(dir.path, "dale"))).toEqual(["notes"]);
  });
});

describe("a directory that cannot be used (T9)", () => {
  test("does not prevent a start: events are counted, the error is logged once, and writing resumes", () => {
    using dir = tempDir();
    const root = join(dir.path, "tracks");
    writeFileSync(root, "in the way");
    const rig = new Rig(root);
    for (let n = 0; n < 5; n++) rig.event("a");
    expect([rig.output.lost, rig.log.count(LOST)]).toEqual([5, 1]);
    expect(rig.log.count("directory of track files cannot be used")).toBe(1);
    rmSync(root);
    rig.event("b");
    expect(rig.ids()).toEqual(["b"]);
    expect(rig.log.count(AGAIN)).toBe(1);
  });

  test("for one stream is logged once, whatever other streams do", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    writeFileSync(join(dir.path, HILL), "in the way");
    for (let n = 0; n < 10; n++) {
      rig.event("a");
      rig.event("b", streamId("dale"));
    }
    expect([rig.output.lost, rig.log.count(LOST), rig.log.count(AGAIN)]).toEqual([10, 1, 0]);
    rmSync(join(dir.path, HILL));
    rig.event("c");
    expect(rig.log.count(AGAIN)).toBe(1);
    expect(rig.ids(TODAY, "dale")).toHaveLength(10);
  });
});

describe("many streams (T9)", () => {
  test("stay within the total together, although each file is far below its own limit", () => {
    using dir = tempDir();
    const totalBytesMax = 1e6;
    const rig = new Rig(dir.path, { totalBytesMax, rotateBytes: 1e6 });
    const all = streams(50);
    const batch = 2000;
    for (let round = 0; round < 40; round++) {
      for (const stream of all) rig.queue(`${round}`, stream, batch);
      rig.output.flush();
    }
    const slack = all.length * (batch + 100);
    expect(rig.bytes()).toBeLessThan(totalBytesMax + slack);
    expect(rig.bytes()).toBeGreaterThan(totalBytesMax / 2);
    expect(rig.output.lost).toBe(0);
    // The latest files of each stream are left.
    for (const stream of all) {
      const names = readdirSync(join(dir.path, stream));
      expect(names.flatMap((name) => rig.ids(name, stream))).toContain("39");
    }
  });

  test("keep a bounded number of files open, and close idle ones", async () => {
    using dir = tempDir();
    const rig = new Rig(dir.path, { openFilesMax: 20 });
    const all = streams(25);
    for (const stream of all) rig.queue("a", stream);
    rig.output.flush();
    expect(openBelow(dir.path)).toBe(20);
    rig.event("b", all[0]);
    expect(openBelow(dir.path)).toBe(20);
    expect(rig.ids(TODAY, all[0])).toEqual(["a", "b"]);
    rig.clock.advance(MINUTE_MS);
    rig.event("c", all[0]);
    rig.clock.advance(MINUTE_MS);
    expect(openBelow(dir.path)).toBe(1);
    rig.clock.advance(MINUTE_MS);
    expect(openBelow(dir.path)).toBe(0);
    rig.event("d", all[0]);
    expect(rig.ids(TODAY, all[0])).toEqual(["a", "b", "c", "d"]);
    await rig.output.stop();
    expect([openBelow(dir.path), rig.output.lost]).toEqual([0, 0]);
  });

  test("open new files in turns, because opening may be slow, and lose nothing", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    const all = streams(40);
    for (const stream of all) rig.queue("a", stream);
    const files = (): number => [...new Bun.Glob("*/*").scanSync({ cwd: rig.root })].length;
    const counts = [1, 2, 3].map(() => {
      rig.clock.advance(200);
      return files();
    });
    expect(counts).toEqual([16, 32, 40]);
    rig.clock.jumpWall(DAY_MS);
    for (const stream of all) rig.queue("b", stream);
    rig.clock.advance(600);
    expect(files()).toBe(80);
    for (const stream of all) expect(rig.ids("2026-07-09.jsonl", stream)).toEqual(["b"]);
  });

  test("queue a bounded number of bytes together: more is written before the next flush", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    for (const stream of streams(100)) rig.queue("a", stream, 200_000);
    expect(rig.bytes()).toBeGreaterThanOrEqual(16 * 1024 ** 2);
  });
});

describe("an odd clock (T9)", () => {
  test("that goes back a day continues that day's file, and then this day's", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    rig.event("a");
    rig.clock.jumpWall(-DAY_MS);
    rig.event("b");
    rig.clock.jumpWall(DAY_MS);
    rig.event("c");
    expect(rig.ids()).toEqual(["a", "c"]);
    expect(rig.ids("2026-07-07.jsonl")).toEqual(["b"]);
  });
});

const ENDLESS = `
  const { TrackLog } = await import(process.argv[1]);
  const { systemClock, silentLog } = await import(process.argv[3]);
  const out = new TrackLog(process.argv[2], { rotateBytes: 1e7, keepDays: 9, totalBytesMax: 1e9 }, systemClock, silentLog);
  out.start();
  const line = new TextEncoder().encode(JSON.stringify({ track_id: "t", pad: "x".repeat(100_000) }));
  for (;;) out.write("hill", line, 0, line.length, 1);
`;

describe("lines (T9)", () => {
  test("are whole after a kill -9 during a write, once the next process has started", async () => {
    using dir = tempDir();
    const [output, daemon] = [
      join(import.meta.dirname, "track-log.ts"),
      import.meta.resolve("@fleet/daemon"),
    ];
    const child = Bun.spawn([process.execPath, "-e", ENDLESS, output, dir.path, daemon], {
      stderr: "inherit",
    });
    const names = (): string[] =>
      existsSync(join(dir.path, HILL)) ? readdirSync(join(dir.path, HILL)) : [];
    await until(() => names().length > 1);
    child.kill("SIGKILL");
    await child.exited;
    const rig = new Rig(dir.path, { keepDays: 10_000 });
    expect(names().flatMap((name) => rig.ids(name)).length).toBeGreaterThan(0);
  });

  test("that a killed process left unfinished are cut off at the next start, even if nothing is written that day", () => {
    using dir = tempDir();
    const first = new Rig(dir.path);
    first.event("a");
    first.event("b", streamId("dale"));
    appendFileSync(first.path(), `{"track_id":"ha`);
    const second = new Rig(dir.path);
    expect([second.ids(), second.ids(TODAY, "dale")]).toEqual([["a"], ["b"]]);
  });

  test("may be 4 MiB long", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    rig.event("long", HILL, 4 * 1024 ** 2);
    rig.event("next");
    expect([rig.ids(), rig.ids("2026-07-08.1.jsonl")]).toEqual([["long"], ["next"]]);
  });
});
