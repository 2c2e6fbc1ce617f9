import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { detectImage, type DetectOptions } from "../detect-image.ts";
import { CACHE_BYTES_MAX } from "./detection-cache.ts";
import type { ImageReport } from "../image-report.ts";
import { spawnProbe } from "../probe/run-probe.ts";
import { makeTestClock, makeTestImage, type TestImage } from "../test-image.ts";

/** Long after the test's files were created: fresher files would prevent caching. */
const LATER_MS = 4_000_000_000_000;

let image: TestImage;
let started: string[];
let path: string;

beforeEach(() => {
  image = makeTestImage();
  started = [];
  path = `${image.dir}/state/detection.json`;
  image.directory("state");
  image.directory("bin2");
  image.script("bin/python3", "echo Python 3.11.2");
});

afterEach(() => image[Symbol.dispose]());

function detect(
  options: Partial<DetectOptions> & { fresh?: boolean; version?: string; nowMs?: number } = {},
): Promise<ImageReport> {
  const { fresh = false, version = "1.0.0", nowMs = LATER_MS, env, ...rest } = options;
  return detectImage({
    env: { PATH: `${image.dir}/bin:${image.dir}/bin2`, ...env },
    clock: { ...makeTestClock(), nowMs: () => nowMs },
    pathOnly: true,
    cache: { path, version, fresh },
    spawn(command) {
      started.push(command.path);
      return spawnProbe(command);
    },
    ...rest,
  });
}

/** Detects again: `cached` (then nothing was run) or `detected`, and the version found. */
async function again(options: Parameters<typeof detect>[0] = {}): Promise<string> {
  started = [];
  const report = await detect(options);
  if (report.cached) expect(started).toEqual([]);
  const python = report.interpreters.find(({ name }) => name === "python");
  const version = python?.verdict === "ok" ? python.version : (python?.verdict ?? "none");
  return `${report.cached ? "cached" : "detected"} ${version}`;
}

describe("A4: an unchanged image is not examined twice", () => {
  test("the second detection runs nothing and returns the same, with the image's facts read again", async () => {
    const first = await detect();
    expect([first.cached, first.looked_at_ms]).toEqual([false, LATER_MS]);
    started = [];
    const second = await detect({ nowMs: LATER_MS + 5000 });
    expect(started).toEqual([]);
    expect(second).toEqual({ ...first, cached: true });
  });

  test("with `fresh` detection runs in full and updates the cache", async () => {
    await detect();
    expect(await again({ fresh: true })).toBe("detected 3.11.2");
    expect(await again()).toBe("cached 3.11.2");
  });

  test("only the owner can read the file, and no temporary file remains", async () => {
    await detect();
    await detect({ fresh: true });
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
    expect([...new Bun.Glob("*").scanSync({ cwd: `${image.dir}/state` })]).toEqual([
      "detection.json",
    ]);
  });
});

/** A change of an image, and the result of the next detection. */
const CHANGES: readonly (readonly [
  what: string,
  change: () => void,
  says: string,
  options?: Parameters<typeof detect>[0],
])[] = [
  ["nothing", () => {}, "cached 3.11.2"],
  [
    "a rewritten interpreter",
    () => void image.script("bin/python3", "echo Python 3.11.3"),
    "detected 3.11.3",
  ],
  [
    "a replacement of the same size and mtime",
    () => {
      const { atime, mtime } = lstatSync(`${image.dir}/bin/python3`);
      const other = image.script("other", "echo Python 3.11.9");
      utimesSync(other, atime, mtime);
      renameSync(other, `${image.dir}/bin/python3`);
    },
    "detected 3.11.9",
  ],
  ["a removed interpreter", () => unlinkSync(`${image.dir}/bin/python3`), "detected none"],
  [
    "one that is no longer executable",
    () => chmodSync(`${image.dir}/bin/python3`, 0o644),
    "detected broken",
  ],
  [
    "a new file in a directory that is searched",
    () => void image.script("bin2/python3.13", "echo Python 3.13.0"),
    "detected 3.11.2",
  ],
  ["another version of the agent", () => {}, "detected 3.11.2", { version: "1.0.1" }],
  [
    "an interpreter that the config adds",
    () => {},
    "detected 3.11.2",
    { interpreters: [{ name: "julia", candidates: ["julia"] }] },
  ],
  [
    "a variable that was read",
    () => {},
    "detected 3.11.2",
    { env: { JAVA_HOME: "/opt/java" }, pathOnly: false },
  ],
  ["a variable that was not read", () => {}, "cached 3.11.2", { env: { LANG: "de_DE.UTF-8" } }],
  ["a damaged cache", () => truncateSync(path, 200), "detected 3.11.2"],
  ["an empty cache", () => truncateSync(path, 0), "detected 3.11.2"],
  [
    "a cache whose text was changed",
    () => writeFileSync(path, readFileSync(path, "utf8").replace("3.11.2", "3.12.7")),
    "detected 3.11.2",
  ],
  ["a cache that others can write", () => chmodSync(path, 0o622), "detected 3.11.2"],
  [
    "a link in the cache's place",
    () => {
      renameSync(path, `${image.dir}/elsewhere`);
      symlinkSync(`${image.dir}/elsewhere`, path);
    },
    "detected 3.11.2",
  ],
  [
    "a cache that is too long",
    () => writeFileSync(path, readFileSync(path, "utf8").padEnd(CACHE_BYTES_MAX + 1)),
    "detected 3.11.2",
  ],
  [
    "a FIFO in the cache's place",
    () => {
      unlinkSync(path);
      Bun.spawnSync(["mkfifo", path]);
    },
    "detected 3.11.2",
  ],
];

test.each(CHANGES)("A4: after %s", async (_what, change, says, options = {}) => {
  await detect();
  change();
  expect(await again(options)).toBe(says);
});

test("A4: a changed link target and a new environment invalidate the cache", async () => {
  image.script("opt/node20", "echo v20.1.0");
  image.script("opt/node22", "echo v22.1.0");
  image.link("bin/node", "../opt/node20");
  const env = { FLEET_RUNTIME_ENVS_DIR: `${image.dir}/envs` };
  const node = async (): Promise<unknown> => {
    const { interpreters, cached } = await detect({ env });
    const found = interpreters.find(({ name }) => name === "node");
    return [cached, found?.verdict === "ok" && found.version];
  };
  expect(await node()).toEqual([false, "20.1.0"]);
  expect(await node()).toEqual([true, "20.1.0"]);
  unlinkSync(`${image.dir}/bin/node`);
  image.link("bin/node", "../opt/node22");
  expect(await node()).toEqual([false, "22.1.0"]);
  expect(await node()).toEqual([true, "22.1.0"]);
  image.file("envs/radar/pyvenv.cfg", "home = /usr/bin\n");
  expect(await node()).toEqual([false, "22.1.0"]);
  expect((await detect({ env })).environments).toMatchObject([{ name: "radar" }]);
});

test("A4: the agent itself on PATH is skipped from the cache too, but to another agent it is a program", async () => {
  const self = image.script("bin/bun", "echo 1.4.5");
  expect((await detect({ selfPath: self })).absent).toContain("bun");
  expect(await again({ selfPath: self })).toBe("cached 3.11.2");
  expect(await again()).toBe("detected 3.11.2");
  expect((await detect()).absent).not.toContain("bun");
});

test("A4: a result influenced by a transient failure is not cached", async () => {
  const spawn = (): never => {
    throw Object.assign(new Error("no"), { code: "EAGAIN" });
  };
  expect((await detect({ spawn })).interpreters[0]).toMatchObject({ verdict: "broken" });
  expect(existsSync(path)).toBe(false);
  expect(await again()).toBe("detected 3.11.2");
});

test("A4: a result with a file changed just before the detection is not cached, since it may change again unnoticed", async () => {
  const { ctimeMs } = lstatSync(`${image.dir}/bin/python3`);
  await detect({ nowMs: ctimeMs + 5 });
  expect(existsSync(path)).toBe(false);
});

test("A4: an unwritable cache is not an error", async () => {
  path = `${image.dir}/nowhere/detection.json`;
  expect(await again()).toBe("detected 3.11.2");
  expect(existsSync(`${image.dir}/nowhere`)).toBe(false);
});
