import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStateDir } from "./state-dir.ts";

let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "state-"));
});

afterEach(() => rmSync(base, { recursive: true }));

test("an explicit directory is made when it is missing, for us alone", () => {
  const path = join(base, "a", "b");
  expect(openStateDir(path)).toEqual({ at: "writable", path });
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

test("the default directory is used if it exists and never created", () => {
  expect(openStateDir(undefined, base)).toEqual({ at: "writable", path: base });
  const missing = join(base, "missing");
  expect(openStateDir(undefined, missing).at).toBe("none");
  expect(existsSync(missing)).toBe(false);
});

test("a file in its place is named as that", () => {
  const path = join(base, "file");
  writeFileSync(path, "");
  expect(openStateDir(path)).toEqual({ at: "none", reason: `${path} is not a directory` });
});

test("a directory that can't be written is named with its owner's uid and ours", async () => {
  const script = `import { openStateDir } from ${JSON.stringify(join(import.meta.dir, "state-dir.ts"))};
    process.setgid(65534); process.setuid(65534);
    console.log(JSON.stringify(openStateDir(process.argv[1])));`;
  if (process.getuid?.() !== 0) return;
  const child = Bun.spawn([process.execPath, "-e", script, base], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const owner = statSync(base).uid;
  expect(JSON.parse(await child.stdout.text())).toEqual({
    at: "none",
    reason: `${base} belongs to uid ${owner} and can't be written by uid 65534`,
  });
});
