import { describe, expect, test } from "bun:test";

import { parseBytes, parseDurationMs } from "./duration.ts";

describe("a duration", () => {
  test("is a number and a unit", () => {
    const cases = {
      "5ms": 5,
      "30s": 30_000,
      "1.5s": 1500,
      "5m": 300_000,
      "2h": 7_200_000,
      "0s": 0,
    };
    for (const [text, ms] of Object.entries(cases)) expect(parseDurationMs(text)).toBe(ms);
    expect(parseDurationMs("7d")).toBe(604_800_000);
  });

  test("has no other form", () => {
    for (const text of [
      "",
      "5",
      "s",
      "-5s",
      "5 s",
      " 5s",
      "5s ",
      "5S",
      "1e3s",
      ".5s",
      "5.s",
      "5s5s",
      "5w",
      "٥s",
    ])
      expect(parseDurationMs(text)).toBeUndefined();
  });

  test("is rounded to ms, or rejected if too large", () => {
    expect(parseDurationMs("0.1ms")).toBe(0);
    expect(parseDurationMs("9007199254740991ms")).toBe(Number.MAX_SAFE_INTEGER);
    expect(parseDurationMs("9007199254740992ms")).toBeUndefined();
    expect(parseDurationMs(`${"9".repeat(400)}d`)).toBeUndefined();
  });
});

describe("a size", () => {
  test("is a number and a binary unit", () => {
    const cases = { "0B": 0, "1KiB": 1024, "64MiB": 67_108_864, "1.5GiB": 1_610_612_736 };
    for (const [text, bytes] of Object.entries(cases)) expect(parseBytes(text)).toBe(bytes);
    expect(parseBytes("1TiB")).toBe(1_099_511_627_776);
  });

  test("has no other form", () => {
    for (const text of ["", "5", "MiB", "5MB", "5mib", "5 MiB", "-1B", "1e3B"])
      expect(parseBytes(text)).toBeUndefined();
    expect(parseBytes("8192TiB")).toBeUndefined();
  });
});
