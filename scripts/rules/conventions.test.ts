/** Rules for every tracked file that the linter cannot check. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../lib/root.ts";

const FILES_MIN = 60;
const LOOSE_FILES_MAX = 16;

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
    return []; // Deleted in the working tree, but not in the index yet.
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

  test("are all read", () => {
    expect(new Set(all.map(({ at }) => at.split(":")[0])).size).toBeGreaterThan(FILES_MIN);
    expect(sources.length).toBeGreaterThan(1000);
  });

  test("name no directory of the author's machine", () => {
    expect(hits(all, /(?<![\w.)}])\/(work|root)\//)).toEqual([]);
  });

  test("name no package registry, because that is the user's setting", () => {
    expect(hits(all, /\bregistry\.[a-z]+js\b|\b(deb|security|archive)\.(debian|ubuntu)\b/)).toEqual(
      [],
    );
  });

  test("cite only documents that are in the repository, and explain themselves", () => {
    const others = all.filter(({ at }) => !at.startsWith("scripts/rules/conventions.test.ts:"));
    const elsewhere = /\bDESIGN\b,? ?§|\b(DESIGN|LAYOUT|CONVENTIONS|REQUIREMENTS|ANCHORS)\.md\b/;
    expect(hits(others, elsewhere)).toEqual([]);
    expect(hits(others, /\bsee the head of\b|\bhead of this file\b/i)).toEqual([]);
  });

  test("read the host's clock only in clock.ts", () => {
    const elsewhere = sources.filter(
      ({ at }) => !at.startsWith("packages/daemon/src/time/clock.ts:"),
    );
    expect(hits(elsewhere, /\bnew Date\(\)|(?<!new )\bDate\(\)/)).toEqual([]);
  });

  test(`lie in folders of at most ${LOOSE_FILES_MAX} source files`, () => {
    const counts = new Map<string, number>();
    for (const path of new Set(all.map(({ at }) => at.split(":")[0]!))) {
      if (!/^((apps|packages)\/[^/]+\/src|scripts)\//.test(path)) continue;
      if (!/\.(tsx?|mjs|c|sh|py)$/.test(path) || /\.test\.tsx?$/.test(path)) continue;
      const folder = path.slice(0, path.lastIndexOf("/"));
      counts.set(folder, (counts.get(folder) ?? 0) + 1);
    }
    expect([...counts].filter(([, count]) => count > LOOSE_FILES_MAX)).toEqual([]);
  });
});
