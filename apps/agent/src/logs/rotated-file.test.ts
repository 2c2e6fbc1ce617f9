import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import { recordingLog } from "../testing.ts";
import { RotatedFile } from "./rotated-file.ts";

const BOUND = 16 * 1024;
const CAN_MOUNT = Bun.spawnSync(["unshare", "--mount", "true"]).success;
const encode = (line: string): Uint8Array => new TextEncoder().encode(`${line}\n`);

let dir: string;
let path: string;
let clock: FakeClock;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "rotated-"));
  path = join(dir, "logs", "radar.log");
  clock = new FakeClock();
});

afterEach(() => rmSync(dir, { recursive: true }));

function setUp(files = 2) {
  const { log, lines } = recordingLog();
  const store = new RotatedFile({ path, bytesMax: BOUND, files, clock, log });
  return { store, lines, put: (...texts: string[]) => store.append(texts.map(encode)) };
}

describe("A11: a sensor's log file", () => {
  test("is filled to its bound to the byte, and never beyond it", () => {
    const { put, store } = setUp();
    put("x".repeat(BOUND / 2 - 1), "x".repeat(BOUND / 2 - 1));
    expect(statSync(path).size).toBe(BOUND);
    expect(existsSync(`${path}.1`)).toBe(false);
    put("");
    expect([statSync(path).size, statSync(`${path}.1`).size]).toEqual([1, BOUND]);
    store.close();
  });

  test("keeps as many files as it may, with the youngest lines in order", () => {
    const { put, store } = setUp(3);
    const texts = Array.from({ length: 2000 }, (_, i) => `${i} ${"x".repeat(90)}`);
    for (let i = 0; i < texts.length; i += 7) put(...texts.slice(i, i + 7));
    const names = readdirSync(join(dir, "logs")).toSorted();
    expect(names).toEqual(["radar.log", "radar.log.1", "radar.log.2"]);
    for (const name of names)
      expect(statSync(join(dir, "logs", name)).size).toBeLessThanOrEqual(BOUND);
    const kept = store.tail(100_000);
    expect(kept.length).toBeGreaterThan((2 * BOUND) / 100);
    expect(kept).toEqual(texts.slice(-kept.length));
    store.close();
  });

  test("of a single file starts again when it is full", () => {
    const { put, store } = setUp(1);
    put("x".repeat(BOUND - 1), "last");
    expect(readdirSync(join(dir, "logs"))).toEqual(["radar.log"]);
    expect(store.tail(9)).toEqual(["last"]);
    store.close();
  });

  test("is continued after a restart, also after half a line, and files of an earlier config are removed", () => {
    mkdirSync(join(dir, "logs"));
    writeFileSync(path, "old\nhal");
    for (const age of [1, 2, 3]) writeFileSync(`${path}.${age}`, `${age}\n`);
    const { put, store } = setUp(2);
    put("new");
    expect(store.tail(9)).toEqual(["1", "old", "hal", "new"]);
    expect(readdirSync(join(dir, "logs")).toSorted()).toEqual(["radar.log", "radar.log.1"]);
    store.close();
  });

  test("is for its owner alone", () => {
    const { put, store } = setUp();
    put("a");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, "logs")).mode & 0o777).toBe(0o700);
    store.close();
  });

  test("that is removed, with its directory, or renamed from outside is made again", () => {
    const { put, store } = setUp();
    put("a");
    rmSync(path);
    put("b");
    expect(readFileSync(path, "utf8")).toBe("b\n");
    rmSync(join(dir, "logs"), { recursive: true });
    put("c");
    expect(readFileSync(path, "utf8")).toBe("c\n");
    renameSync(path, `${path}.old`);
    put("d");
    expect(readFileSync(path, "utf8")).toBe("d\n");
    store.close();
  });

  test("that is truncated from outside is filled to its bound from there", () => {
    const { put, store } = setUp();
    put("x".repeat(BOUND - 1));
    truncateSync(path, 0);
    put("y".repeat(BOUND - 1));
    expect(statSync(path).size).toBe(BOUND);
    expect(existsSync(`${path}.1`)).toBe(false);
    store.close();
  });

  test.each([
    ["a link to another file", (other: string) => symlinkSync(other, path)],
    ["a link to nowhere", () => symlinkSync(join(dir, "nowhere"), path)],
    ["a second name of another file", (other: string) => linkSync(other, path)],
    ["a pipe", () => Bun.spawnSync(["mkfifo", path])],
  ])("does not go through %s that was put in its place", (_, plant) => {
    const other = join(dir, "identity.json");
    writeFileSync(other, "precious");
    const { put, store, lines } = setUp();
    put("a");
    rmSync(path);
    plant(other);
    put("b");
    expect(readFileSync(other, "utf8")).toBe("precious");
    expect(existsSync(join(dir, "nowhere"))).toBe(false);
    expect(lstatSync(path).isFile()).toBe(true);
    expect(readFileSync(path, "utf8")).toBe("b\n");
    expect(lines).toEqual([]);
    store.close();
  });

  test("does not go into a directory that is a link", () => {
    mkdirSync(join(dir, "elsewhere"));
    symlinkSync(join(dir, "elsewhere"), join(dir, "logs"));
    const { put, lines } = setUp();
    put("a");
    expect(readdirSync(join(dir, "elsewhere"))).toEqual([]);
    expect(lines.map(({ level }) => level)).toEqual(["warn"]);
  });

  test("that can't be written drops and counts lines, logs that once, and continues when it can", () => {
    mkdirSync(join(dir, "logs"));
    mkdirSync(path);
    const { put, store, lines } = setUp();
    put("a", "b");
    put("c");
    clock.advance(1000);
    put("d");
    expect(lines.map(({ message }) => message)).toEqual([
      "could not write the sensor's log; dropping lines until the disk accepts them",
    ]);
    rmSync(path, { recursive: true });
    put("e");
    clock.advance(1000);
    put("f");
    expect(store.tail(9)).toEqual([
      `${new Date(clock.nowMs()).toISOString()} * 5 lines could not be written here`,
      "f",
    ]);
    expect(lines[1]?.fields).toEqual({ path, lines_lost: 5 });
    store.close();
  });

  // Without permission to mount there is no separate disk to fill.
  describe.skipIf(!CAN_MOUNT)("on a disk", () => {
    const mount = (...options: string[]): void => {
      const done = Bun.spawnSync(["mount", ...options, join(dir, "logs")]);
      if (!done.success) throw new Error(done.stderr.toString());
    };

    beforeEach(() => {
      mkdirSync(join(dir, "logs"));
      mount("-t", "tmpfs", "-o", "size=8k", "tmpfs");
    });

    afterEach(() => void Bun.spawnSync(["umount", join(dir, "logs")]));

    test("that is full holds whole lines only", () => {
      const { put, store, lines } = setUp();
      for (let i = 0; i < 200; i++) put(`${i} ${"x".repeat(90)}`);
      const kept = store.tail(1000);
      expect(kept.length).toBeGreaterThan(20);
      expect(kept.every((text, i) => text === `${i} ${"x".repeat(90)}`)).toBe(true);
      expect(lines.map(({ level }) => level)).toEqual(["warn"]);
      truncateSync(path, 0);
      clock.advance(1000);
      put("again");
      expect(store.tail(9).at(-1)).toBe("again");
      store.close();
    });

    test("that is read-only drops its lines, says so once, and goes on when it isn't any more", () => {
      mount("-o", "remount,ro");
      const { put, store, lines } = setUp();
      put("a");
      clock.advance(1000);
      put("b");
      expect(lines.map(({ level }) => level)).toEqual(["warn"]);
      mount("-o", "remount,rw");
      clock.advance(1000);
      put("c");
      expect(store.tail(9).length).toBe(2);
      expect(lines.at(-1)?.fields).toEqual({ path, lines_lost: 2 });
      store.close();
    });
  });
});
