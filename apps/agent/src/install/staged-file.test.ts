import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { systemClock } from "@fleet/daemon/clock";
import { tryLock } from "../state/file-lock.ts";
import { removeLeftovers, stageFile } from "./staged-file.ts";

const LEFT = ".fleet-agent.0123456789abcdef.tmp";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "staged-"));
});

afterEach(() => rmSync(dir, { recursive: true }));

test("a staged file has its mode regardless of the umask, and is removed when discarded", async () => {
  const umask = process.umask(0o077);
  const staged = await stageFile(dir, 0o755).finally(() => process.umask(umask));
  expect(basename(staged.path)).toMatch(/^\.fleet-agent\.[0-9a-f]{16}\.tmp$/);
  expect(statSync(staged.path).mode & 0o7777).toBe(0o755);
  await staged.file.close();
  staged.discard();
  staged.discard();
  expect(readdirSync(dir)).toEqual([]);
});

test("one with an owner is left alone, one without is removed", async () => {
  const staged = await stageFile(dir, 0o700);
  writeFileSync(join(dir, LEFT), "half");
  await staged.file.close();
  expect(removeLeftovers(dir, systemClock)).toBe(1);
  expect(readdirSync(dir)).toEqual([basename(staged.path)]);
  staged.release();
  expect(removeLeftovers(dir, systemClock)).toBe(1);
});

test("one that was renamed is not discarded", async () => {
  const staged = await stageFile(dir, 0o700);
  await staged.file.close();
  const target = join(dir, "target");
  renameSync(staged.path, target);
  staged.release();
  writeFileSync(staged.path, "somebody else's");
  staged.discard();
  expect(readdirSync(dir).length).toBe(2);
});

test("anything with another name, or that is not a file, stays", () => {
  const others = [".fleet-agent.0123.tmp", "fleet-agent", `x${LEFT}`, `${LEFT}.x`];
  for (const name of others) writeFileSync(join(dir, name), "");
  mkdirSync(join(dir, ".fleet-agent.1111111111111111.tmp"));
  symlinkSync(join(dir, "fleet-agent"), join(dir, ".fleet-agent.2222222222222222.tmp"));
  expect(removeLeftovers(dir, systemClock)).toBe(0);
  expect(readdirSync(dir).length).toBe(others.length + 2);
});

test("a leftover that another run looks at just now is left to it", () => {
  const path = join(dir, LEFT);
  writeFileSync(path, "");
  const fd = openSync(path, "r");
  expect(tryLock(fd)).toBe("locked");
  expect(removeLeftovers(dir, systemClock)).toBe(0);
  closeSync(fd);
  expect(removeLeftovers(dir, systemClock)).toBe(1);
});

test("one run removes a bounded number, the next one continues", () => {
  for (let i = 0; i < 100; i++)
    writeFileSync(join(dir, `.fleet-agent.${String(i).padStart(16, "0")}.tmp`), "");
  expect([removeLeftovers(dir, systemClock), removeLeftovers(dir, systemClock)]).toEqual([64, 36]);
});
