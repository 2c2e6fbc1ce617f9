import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@fleet/daemon/clock";
import { type FailureCode, InstallError } from "./failure.ts";
import { install, type InstallRequest } from "./install.ts";

/** A small stand-in for the agent that runs anywhere. */
const PROGRAM = "#!/bin/sh\necho ok\n";
const LEFT = ".fleet-agent.0123456789abcdef.tmp";

let base: string;
let dir: string;
let target: string;
let source: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "install-"));
  dir = join(base, "volume");
  target = join(dir, "fleet-agent");
  source = join(base, "program");
  mkdirSync(dir);
  writeFileSync(source, PROGRAM);
});

afterEach(() => rmSync(base, { recursive: true }));

function run(more: Partial<InstallRequest> = {}) {
  return install({ dir, mode: 0o755, source, expected: "ok", clock: systemClock, ...more });
}

/** Runs an install that must fail, and returns the error. */
async function failure(more: Partial<InstallRequest> = {}): Promise<[FailureCode, string]> {
  try {
    await run(more);
  } catch (error) {
    if (error instanceof InstallError) return [error.code, error.message];
    throw error;
  }
  throw new Error("it did not fail");
}

test("the file is installed with its mode, and no other file", async () => {
  const sha256 = new Bun.CryptoHasher("sha256").update(PROGRAM).digest("hex");
  expect(await run({ mode: 0o511 })).toEqual({
    at: "installed",
    path: target,
    bytes: PROGRAM.length,
    sha256,
  });
  expect(readFileSync(target, "utf8")).toBe(PROGRAM);
  expect(statSync(target).mode & 0o7777).toBe(0o511);
  expect(readdirSync(dir)).toEqual(["fleet-agent"]);
});

test("a second run changes nothing", async () => {
  const first = await run();
  const before = statSync(target, { bigint: true });
  expect(await run()).toEqual({ ...first, at: "already_installed" });
  const after = statSync(target, { bigint: true });
  expect([after.ino, after.mtimeNs, after.ctimeNs]).toEqual([
    before.ino,
    before.mtimeNs,
    before.ctimeNs,
  ]);
});

test.each<[string, () => void]>([
  ["of other content but equal size", () => writeFileSync(target, PROGRAM.replace("ok", "no"))],
  ["of another mode", () => chmodSync(target, 0o700)],
  ["cut short", () => writeFileSync(target, PROGRAM.slice(0, 5))],
])("a file %s is replaced, not written to", async (_what, spoil) => {
  await run();
  spoil();
  const { ino } = statSync(target);
  expect((await run()).at).toBe("installed");
  expect(statSync(target).ino).not.toBe(ino);
  expect(readFileSync(target, "utf8")).toBe(PROGRAM);
  expect(statSync(target).mode & 0o777).toBe(0o755);
});

test("a link in the target's place is replaced and not followed, even when it leads to the same bytes", async () => {
  const elsewhere = join(base, "elsewhere");
  writeFileSync(elsewhere, PROGRAM, { mode: 0o755 });
  symlinkSync(elsewhere, target);
  expect((await run()).at).toBe("installed");
  expect(lstatSync(target).isFile()).toBe(true);
  expect(lstatSync(elsewhere).isFile()).toBe(true);
});

test("a pipe in the target's place is replaced without waiting for its writer", async () => {
  expect(Bun.spawnSync(["mkfifo", target]).exitCode).toBe(0);
  expect((await run()).at).toBe("installed");
  expect(lstatSync(target).isFile()).toBe(true);
});

test("a directory in the target's place is named and kept", async () => {
  mkdirSync(target);
  expect(await failure()).toEqual([
    "target_is_directory",
    `${target} is a directory; remove it or install elsewhere`,
  ]);
  expect(readdirSync(dir)).toEqual(["fleet-agent"]);
});

test("a directory reached by a link or a relative path will do", async () => {
  symlinkSync(dir, join(base, "link"));
  expect((await run({ dir: join(base, "link") })).at).toBe("installed");
  expect((await run({ dir: `${base}/./volume/` })).path).toBe(target);
});

test("a missing directory is not made", async () => {
  const missing = join(base, "missing");
  const [code, message] = await failure({ dir: missing });
  expect(code).toBe("no_directory");
  expect(message).toStartWith(`${missing} does not exist`);
  expect(existsSync(missing)).toBe(false);
});

test("a file in the directory's place is named", async () => {
  expect(await failure({ dir: source })).toEqual([
    "no_directory",
    `${source} is not a directory; name the directory the volume is mounted at`,
  ]);
});

test("a copy with a wrong answer is not installed, and the old file stays", async () => {
  writeFileSync(target, "old");
  const [code, message] = await failure({ expected: "something else" });
  expect([code, message]).toEqual([
    "misbehaved",
    `${dir}: the copy answered "ok" instead of "something else"`,
  ]);
  expect(readFileSync(target, "utf8")).toBe("old");
  expect(readdirSync(dir)).toEqual(["fleet-agent"]);
});

test("a program that can't read itself says so", async () => {
  const [code, message] = await failure({ source: join(base, "none") });
  expect(code).toBe("io");
  expect(message).toStartWith(`${dir}: this program can't read its own file`);
});

test("leftovers of killed runs are removed, also if the file is already installed", async () => {
  writeFileSync(join(dir, LEFT), "half");
  await run();
  expect(readdirSync(dir)).toEqual(["fleet-agent"]);
  writeFileSync(join(dir, LEFT), "half");
  expect((await run()).at).toBe("already_installed");
  expect(readdirSync(dir)).toEqual(["fleet-agent"]);
});
