import { describe, expect, test } from "bun:test";
import { byteRange } from "./range.ts";

const ETAG = '"x"';
const BYTES = 100;
const part = (start: number, end: number) => ({ at: "part", start, end }) as const;
const WHOLE = { at: "whole" } as const;
const NONE = { at: "unsatisfiable" } as const;

describe("a range (H8)", () => {
  test.each([
    ["bytes=0-0", part(0, 1)],
    ["bytes=10-19", part(10, 20)],
    ["bytes=99-", part(99, 100)],
    ["bytes=0-", part(0, 100)],
    ["bytes=50-1000", part(50, 100)],
    ["bytes=-1", part(99, 100)],
    ["bytes=-1000", part(0, 100)],
    ["Bytes= 1-2 ", part(1, 3)],
  ])("%p is a part", (range, expected) => {
    expect(byteRange(range, undefined, BYTES, ETAG)).toEqual(expected);
  });

  test.each(["bytes=100-", "bytes=100-200", "bytes=-0"])("%p is unsatisfiable", (range) => {
    expect(byteRange(range, undefined, BYTES, ETAG)).toEqual(NONE);
  });

  test.each([
    undefined,
    "",
    "bytes=",
    "bytes=-",
    "bytes=5-2",
    "bytes=a-b",
    "bytes=0-1,5-9",
    "lines=0-1",
    "bytes=0-9999999999999999",
  ])("%p is ignored: the whole file is sent", (range) => {
    expect(byteRange(range, undefined, BYTES, ETAG)).toEqual(WHOLE);
  });

  test("counts only if If-Range matches the file", () => {
    expect(byteRange("bytes=0-0", ETAG, BYTES, ETAG)).toEqual(part(0, 1));
    for (const other of ['"y"', `W/${ETAG}`, "Sat, 21 Nov 2026 14:00:00 GMT", ""])
      expect(byteRange("bytes=0-0", other, BYTES, ETAG)).toEqual(WHOLE);
  });

  test("of an empty file is unsatisfiable", () => {
    for (const range of ["bytes=0-", "bytes=-1"])
      expect(byteRange(range, undefined, 0, ETAG)).toEqual(NONE);
  });
});
