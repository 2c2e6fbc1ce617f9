import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { closeLog, openLog, readFrom, sensorsWithLogs, tailStart } from "./log-files.ts";

let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "log-files-"));
  path = join(dir, "radar.log");
});

afterEach(() => rmSync(dir, { recursive: true }));

function tail(lines: number): string {
  const files = openLog(path);
  const text = Buffer.concat([...readFrom(files, tailStart(files, lines))]).toString();
  closeLog(files);
  return text;
}

test("A11: the last lines come from as many files as it takes, oldest first", () => {
  writeFileSync(`${path}.2`, "a\nb\n");
  writeFileSync(`${path}.1`, "c\nd\n");
  writeFileSync(path, "e\nunfinished");
  expect(tail(1)).toBe("unfinished");
  expect(tail(2)).toBe("e\nunfinished");
  expect(tail(3)).toBe("d\ne\nunfinished");
  expect(tail(5)).toBe("b\nc\nd\ne\nunfinished");
  expect(tail(100)).toBe("a\nb\nc\nd\ne\nunfinished");
  expect(tail(0)).toBe("");
});

test("A11: however long the lines are, and wherever the files are cut, the tail is right", () => {
  const line = fc.oneof(
    fc.string({ maxLength: 5, unit: "grapheme-ascii" }),
    fc.integer({ min: 1, max: 140_000 }).map((length) => "x".repeat(length)),
    fc.constant("y".repeat(65_535)),
  );
  fc.assert(
    fc.property(
      fc.array(fc.array(line, { maxLength: 4 }), { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 14 }),
      (files, wanted) => {
        for (const [age, lines] of files.entries())
          writeFileSync(
            age === 0 ? path : `${path}.${age}`,
            lines.map((text) => `${text}\n`).join(""),
          );
        const all = files.toReversed().flat();
        const expected = all.slice(-wanted).map((text) => `${text}\n`);
        expect(tail(wanted) === expected.join("")).toBe(true);
        for (const age of files.keys()) rmSync(age === 0 ? path : `${path}.${age}`);
      },
    ),
    { numRuns: 60 },
  );
});

test("A11: only plain files are read", () => {
  writeFileSync(join(dir, "secret"), "secret\n");
  symlinkSync(join(dir, "secret"), path);
  mkdirSync(`${path}.1`);
  expect(tail(10)).toBe("");
});

test("A11: the sensors that have logs are named", () => {
  mkdirSync(join(dir, "logs"));
  for (const name of ["b.log", "a.log", "a.log.1", "x.txt", ".log", "no name.log"])
    writeFileSync(join(dir, "logs", name), "");
  expect(sensorsWithLogs(dir)).toEqual(["a", "b"]);
});
