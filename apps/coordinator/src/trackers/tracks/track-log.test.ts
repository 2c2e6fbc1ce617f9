import { describe, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import { RecordingLog, streamId, tempDir } from "../../testing.ts";
import { TrackLog, type TrackLogLimits } from "./track-log.ts";

const STREAM = streamId("radar3.radar");
const DAY_MS = 86_400_000;
const NOON = Date.UTC(2026, 6, 8, 12);
const LIMITS: TrackLogLimits = { rotateBytes: 1e6, keepDays: 14, totalBytesMax: 1e9 };

class Rig {
  readonly clock = new FakeClock(NOON);
  readonly log = new RecordingLog();
  readonly output: TrackLog;
  readonly root: string;

  constructor(root: string, limits: Partial<TrackLogLimits> = {}) {
    this.root = root;
    this.output = new TrackLog(root, { ...LIMITS, ...limits }, this.clock, this.log);
    this.output.start();
  }

  write(text: string, run = 1, stream = STREAM): void {
    const bytes = new TextEncoder().encode(`--${text}\n`);
    this.output.write(stream, bytes, 2, bytes.length - 1, run);
    bytes.fill(0);
  }

  /** Writes one event at once. */
  flushed(text: string, run = 1, stream = STREAM): void {
    this.write(text, run, stream);
    this.output.flush();
  }

  files(stream: string = STREAM): Record<string, string> {
    const dir = join(this.root, stream);
    const names = existsSync(dir) ? readdirSync(dir).toSorted() : [];
    return Object.fromEntries(names.map((n) => [n, readFileSync(join(dir, n), "utf8")]));
  }
}

function touch(path: string, bytes: number): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, `${"x".repeat(bytes - 1)}\n`);
}

describe("track files (T9)", () => {
  test("receive each event as the tracker wrote it, with its run, within 200 ms, by stream and day", () => {
    using dir = tempDir();
    const rig = new Rig(join(dir.path, "tracks"));
    rig.write(`{"track_id":"a","x":[1,2]}`);
    rig.write(`{"track_id":"b"}`, 2);
    rig.write(`{"track_id":"c"}`, 1, streamId("hill"));
    expect(rig.files()).toEqual({});
    rig.clock.advance(200);
    expect(rig.files()).toEqual({
      "2026-07-08.jsonl": `{"track_id":"a","x":[1,2],"run":1}\n{"track_id":"b","run":2}\n`,
    });
    expect(rig.files("hill")).toEqual({ "2026-07-08.jsonl": `{"track_id":"c","run":1}\n` });
  });

  test("start again at midnight UTC", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    rig.clock.advance(DAY_MS / 2 - 1);
    rig.flushed(`{"track_id":"a"}`);
    rig.clock.advance(1);
    rig.flushed(`{"track_id":"b"}`);
    expect(Object.keys(rig.files())).toEqual(["2026-07-08.jsonl", "2026-07-09.jsonl"]);
  });

  test("rotate at their size limit, and continue after a restart", async () => {
    using dir = tempDir();
    const first = new Rig(dir.path, { rotateBytes: 50 });
    for (const id of ["a", "b", "c"]) first.flushed(`{"track_id":"${id}"}`);
    await first.output.stop();
    const second = new Rig(dir.path, { rotateBytes: 50 });
    for (const id of ["d", "e"]) second.flushed(`{"track_id":"${id}"}`);
    const line = (id: string): string => `{"track_id":"${id}","run":1}\n`;
    expect(second.files()).toEqual({
      "2026-07-08.jsonl": line("a") + line("b"),
      "2026-07-08.1.jsonl": line("c") + line("d"),
      "2026-07-08.2.jsonl": line("e"),
    });
  });

  test("hold whole lines only: an unfinished line of a killed process is cut off", async () => {
    using dir = tempDir();
    const first = new Rig(dir.path);
    first.flushed(`{"track_id":"a"}`);
    await first.output.stop();
    const path = join(dir.path, STREAM, "2026-07-08.jsonl");
    appendFileSync(path, `{"track_id":"ha`);
    new Rig(dir.path).flushed(`{"track_id":"b"}`);
    expect(readFileSync(path, "utf8")).toBe(`{"track_id":"a","run":1}\n{"track_id":"b","run":1}\n`);

    writeFileSync(path, `{"track_id":"only half a line, and a long one: ${"x".repeat(200_000)}`);
    new Rig(dir.path).flushed(`{"track_id":"c"}`);
    expect(readFileSync(path, "utf8")).toBe(`{"track_id":"c","run":1}\n`);

    writeFileSync(path, `{"track_id":"d"}\n${"x".repeat(200_000)}`);
    new Rig(dir.path).flushed(`{"track_id":"e"}`);
    expect(readFileSync(path, "utf8")).toBe(`{"track_id":"d"}\n{"track_id":"e","run":1}\n`);
  });

  test("are written at once when much is queued, and at a stop, which leaves no timer", async () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    rig.write(`{"track_id":"a","x":"${"x".repeat(300_000)}"}`);
    expect(Object.values(rig.files())[0]).toHaveLength(300_032);
    rig.write(`{"track_id":"b"}`);
    await rig.output.stop();
    expect(Object.values(rig.files())[0]).toEndWith(`{"track_id":"b","run":1}\n`);
    expect(rig.clock.timers).toBe(0);
  });
});

describe("what is kept (T9)", () => {
  test("is of the last days; other files are not touched", () => {
    using dir = tempDir();
    for (const name of ["2026-06-23.jsonl", "2026-06-24.jsonl", "2026-06-24.1.jsonl", "notes.txt"])
      touch(join(dir.path, STREAM, name), 10);
    touch(join(dir.path, "2020-01-01.jsonl"), 10);
    touch(join(dir.path, "lost+found", "2020-01-01.jsonl"), 10);
    const rig = new Rig(dir.path);
    expect(Object.keys(rig.files())).toEqual([
      "2026-06-24.1.jsonl",
      "2026-06-24.jsonl",
      "notes.txt",
    ]);
    expect(existsSync(join(dir.path, "2020-01-01.jsonl"))).toBe(true);
    expect(existsSync(join(dir.path, "lost+found", "2020-01-01.jsonl"))).toBe(true);
    rig.clock.advance(DAY_MS);
    expect(Object.keys(rig.files())).toEqual(["notes.txt"]);
  });

  test("is within the total: the oldest files of all streams are removed first, never an open one", () => {
    using dir = tempDir();
    touch(join(dir.path, "hill", "2026-07-05.jsonl"), 40);
    touch(join(dir.path, STREAM, "2026-07-06.jsonl"), 40);
    touch(join(dir.path, STREAM, "2026-07-06.2.jsonl"), 40);
    touch(join(dir.path, STREAM, "2026-07-06.10.jsonl"), 40);
    const rig = new Rig(dir.path, { totalBytesMax: 90 });
    expect(Object.keys(rig.files("hill"))).toEqual([]);
    expect(Object.keys(rig.files())).toEqual(["2026-07-06.10.jsonl", "2026-07-06.2.jsonl"]);
    rig.flushed(`{"track_id":"${"x".repeat(200)}"}`);
    rig.clock.advance(60_000);
    expect(Object.keys(rig.files())).toEqual(["2026-07-08.jsonl"]);
  });

  test("stays within the total while a tracker floods, without waiting for the regular clean-up", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path, { rotateBytes: 100, totalBytesMax: 500 });
    for (let n = 0; n < 100; n++) rig.flushed(`{"track_id":"${String(n).padStart(60, "0")}"}`);
    const files = rig.files();
    expect(Object.values(files).join("").length).toBeLessThan(900);
    expect(Object.values(files).join("")).toContain(`${"0".repeat(58)}99"`);
  });

  test("does not include the last file of a stream that became silent days ago", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path, { keepDays: 1 });
    rig.flushed(`{"track_id":"a"}`);
    rig.clock.advance(3 * DAY_MS);
    expect(rig.files()).toEqual({});
  });

  test("survives the removal of the directory", () => {
    using dir = tempDir();
    const root = join(dir.path, "tracks");
    const rig = new Rig(root);
    rmSync(root, { recursive: true });
    rig.clock.advance(120_000);
    expect(rig.log.count("removing old track files fails")).toBeGreaterThan(0);
    rig.flushed(`{"track_id":"a"}`);
    expect(Object.keys(rig.files())).toEqual(["2026-07-08.jsonl"]);
  });
});

const FULL_DISK = `
  const { TrackLog } = await import(process.argv[1]);
  const { systemClock, silentLog } = await import(process.argv[3]);
  const out = new TrackLog(process.argv[2], { rotateBytes: 1e9, keepDays: 9, totalBytesMax: 1e9 }, systemClock, silentLog);
  const line = new TextEncoder().encode(JSON.stringify({ track_id: "t", x: "x".repeat(980) }));
  for (let n = 0; n < 20; n++) {
    out.write("s", line, 0, line.length, 1);
    if (n % 3 === 2) out.flush();
  }
  process.stdout.write(String(out.lost));
`;

describe("a disk that refuses (T9)", () => {
  test("costs events, which are counted, and is used again when it works; each change is logged once", () => {
    using dir = tempDir();
    const rig = new Rig(dir.path);
    writeFileSync(join(dir.path, STREAM), "in the way");
    for (let n = 0; n < 5; n++) rig.flushed(`{"track_id":"a"}`);
    expect(rig.output.lost).toBe(5);
    rmSync(join(dir.path, STREAM));
    rig.flushed(`{"track_id":"b"}`);
    expect(rig.files()).toEqual({ "2026-07-08.jsonl": `{"track_id":"b","run":1}\n` });
    expect(rig.output.lost).toBe(5);
    expect(rig.log.lines.map((l) => l.level)).toEqual(["error", "info"]);
  });

  test("during a batch leaves no part of it behind", () => {
    using dir = tempDir();
    // A limit on the size of a file acts like a full disk: one write is cut short, the next fails.
    const { stdout, stderr } = Bun.spawnSync([
      "sh",
      "-c",
      `trap '' XFSZ; ulimit -f 10; exec "$@"`,
      "sh",
      process.execPath,
      "-e",
      FULL_DISK,
      join(import.meta.dirname, "track-log.ts"),
      dir.path,
      import.meta.resolve("@fleet/daemon"),
    ]);
    expect(stderr.toString()).toBe("");
    const [name] = readdirSync(join(dir.path, "s"));
    const lines = readFileSync(join(dir.path, "s", name!), "utf8").split("\n");
    expect(lines.pop()).toBe("");
    for (const text of lines) expect(JSON.parse(text)).toMatchObject({ track_id: "t", run: 1 });
    expect(lines.length).toBeGreaterThan(2);
    expect(Number(stdout.toString())).toBe(18 - lines.length);
  });
});
