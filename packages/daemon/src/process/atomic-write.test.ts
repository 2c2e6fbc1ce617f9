import { afterEach, beforeEach, expect, test } from "bun:test";
import {
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
import { writeFileAtomically } from "./atomic-write.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "atomic-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

test("replaces the whole content, with the mode asked for, and leaves nothing beside it", () => {
  const path = join(dir, "file");
  writeFileSync(path, "a longer old content", { mode: 0o644 });
  writeFileAtomically(path, "new");
  expect(readFileSync(path, "utf8")).toBe("new");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  writeFileAtomically(path, new Uint8Array([1, 2]), { mode: 0o640, isSynced: false });
  expect([...readFileSync(path)]).toEqual([1, 2]);
  expect(statSync(path).mode & 0o777).toBe(0o640);
  expect(readdirSync(dir)).toEqual(["file"]);
});

test("does not follow a link under the temporary name", () => {
  const other = join(dir, "other");
  writeFileSync(other, "untouched");
  symlinkSync(other, join(dir, "file.tmp"));
  writeFileAtomically(join(dir, "file"), "new");
  expect(readFileSync(other, "utf8")).toBe("untouched");
});

test("that fails throws, keeps the old content and removes the temporary file", () => {
  const path = join(dir, "file");
  mkdirSync(path);
  expect(() => writeFileAtomically(path, "new")).toThrow("EISDIR");
  expect(readdirSync(dir)).toEqual(["file"]);
});
