/** What holds for every file and no linter knows. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../lib/root.ts";

const FILES_MIN = 60;

interface Line {
  readonly at: string;
  readonly text: string;
}

function trackedLines(accepts: (path: string) => boolean): readonly Line[] {
  const { stdout } = Bun.spawnSync(["git", "ls-files", "-z"], { cwd: root });
  const paths = stdout
    .toString()
    .split("\0")
    .filter((path) => path !== "" && accepts(path));
  return paths.flatMap((path) =>
    readLines(path).map((text, i) => ({ at: `${path}:${i + 1}`, text })),
  );
}

function readLines(path: string): readonly string[] {
  try {
    return readFileSync(join(root, path), "utf8").split("\n");
  } catch {
    return []; // Removed in the working tree, not yet in the index.
  }
}

function hits(lines: readonly Line[], pattern: RegExp): readonly string[] {
  return lines
    .filter(({ text }) => pattern.test(text))
    .map(({ at, text }) => `${at}: ${text.trim()}`);
}

describe("tracked files", () => {
  const all = trackedLines((path) => path !== "bun.lock");
  const sources = trackedLines(
    (path) => /^(apps|packages)\/.*\.tsx?$/.test(path) && !/\.test\.ts$|\/test\//.test(path),
  );

  test("are read, not passed over", () => {
    expect(new Set(all.map(({ at }) => at.split(":")[0])).size).toBeGreaterThan(FILES_MIN);
    expect(sources.length).toBeGreaterThan(1000);
  });

  test("name no directory of the machine they were written on", () => {
    expect(hits(all, /(?<![\w.)}])\/(work|root)\//)).toEqual([]);
  });

  test("name no package registry: which one is used is the user's setting", () => {
    expect(hits(all, /\bregistry\.[a-z]+js\b|\b(deb|security|archive)\.(debian|ubuntu)\b/)).toEqual(
      [],
    );
  });

  test("read the host's clock nowhere but in clock.ts", () => {
    const elsewhere = sources.filter(
      ({ at }) => !at.startsWith("packages/daemon/src/time/clock.ts:"),
    );
    expect(hits(elsewhere, /\bnew Date\(\)|(?<!new )\bDate\(\)/)).toEqual([]);
  });
});
