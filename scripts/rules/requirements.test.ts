/** Holds docs/requirements.md to the citations in the code: a built id has a test, and a cited id exists. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../lib/root.ts";

const STATES = ["built", "partly", "not yet"];
const ROW = /^\| ([A-Z]\d+) \| ([a-z ]+) \| (\S.*) \|$/;
/** An id, or a range of ids of one letter, as in "(A4–A7)". A hyphen or a percent sign beside it makes it something else. */
const CITATION = /(?<![\w%-])([ARCTFH])([1-9]\d?|0)(?:–\1([1-9]\d?))?(?![\w-])/g;

interface Requirement {
  readonly id: string;
  readonly state: string;
  readonly text: string;
}

function readTable(): readonly Requirement[] {
  return readFileSync(join(root, "docs/requirements.md"), "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, id, state, text] = ROW.exec(line) ?? [];
      return id === undefined || state === undefined || text === undefined
        ? []
        : [{ id, state, text }];
    });
}

/** The ids that `text` cites, each member of a range included. */
function citationsIn(text: string): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const [, letter = "", from = "", to = from] of text.matchAll(CITATION))
    for (let n = Number(from); n <= Number(to); n++) ids.add(`${letter}${n}`);
  return ids;
}

/** By id, the tracked sources that cite it. */
function readCitations(): ReadonlyMap<string, readonly string[]> {
  const { stdout } = Bun.spawnSync(
    ["git", "ls-files", "-z", "apps", "packages", "scripts", "docker"],
    {
      cwd: root,
    },
  );
  const paths = stdout
    .toString()
    .split("\0")
    .filter((path) => /\.(ts|c|h|sh|ya?ml)$/.test(path) && !path.startsWith("scripts/rules/"));
  const citedBy = new Map<string, string[]>();
  for (const path of paths) {
    if (!Bun.file(join(root, path)).size) continue;
    for (const id of citationsIn(readFileSync(join(root, path), "utf8")))
      citedBy.set(id, [...(citedBy.get(id) ?? []), path]);
  }
  return citedBy;
}

describe("docs/requirements.md", () => {
  const table = readTable();
  const citedBy = readCitations();

  test("has each id once, with a state and one line", () => {
    const ids = table.map(({ id }) => id);
    expect(ids.length).toBeGreaterThan(60);
    expect(ids).toEqual([...new Set(ids)]);
    expect(table.filter(({ state }) => !STATES.includes(state))).toEqual([]);
  });

  test("marks as built only what a test cites", () => {
    const isTest = (path: string): boolean => path.endsWith(".test.ts");
    const untested = table.filter(
      ({ id, state }) => state === "built" && !citedBy.get(id)?.some(isTest),
    );
    expect(untested.map(({ id }) => id)).toEqual([]);
  });

  test("explains every id that the code cites", () => {
    const known = new Set(table.map(({ id }) => id));
    const unknown = [...citedBy].filter(([id]) => !known.has(id));
    expect(unknown.map(([id, paths]) => `${id}: ${paths.join(", ")}`)).toEqual([]);
  });
});

test("a citation is an id or a range of ids, and nothing that looks like one", () => {
  expect([...citationsIn("(A16) (R1–R3, H5) T10: done")]).toEqual([
    "A16",
    "R1",
    "R2",
    "R3",
    "H5",
    "T10",
  ]);
  expect([...citationsIn("%A4 260101-A1 0xF0 RFC3339 A01 (I32)")]).toEqual([]);
});
