import { describe, expect, test } from "bun:test";

import {
  durationBetween,
  parseBytes,
  parseDurationMs,
  parseHostPort,
  sizeBetween,
} from "./units.ts";

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

describe("bounds", () => {
  test("are inclusive, and named in the problem", () => {
    const parse = durationBetween("10ms", "7d");
    expect(parse("10ms")).toEqual({ at: "ok", value: 10 });
    expect(parse("7d")).toEqual({ at: "ok", value: 604_800_000 });
    for (const text of ["9ms", "8d", "soon"])
      expect(parse(text)).toEqual({
        at: "bad",
        problem: 'must be a duration such as "500ms", "30s" or "5m", from 10ms to 7d',
      });
  });

  test("may have no upper end", () => {
    const parse = sizeBetween("64KiB");
    expect(parse("8191TiB").at).toBe("ok");
    expect(parse("1KiB")).toEqual({
      at: "bad",
      problem: 'must be a size such as "64MiB" or "10GiB", at least 64KiB',
    });
  });
});

describe("an address", () => {
  test("is a host and a port, IPv6 in brackets", () => {
    expect(parseHostPort("0.0.0.0:7701")).toEqual({ host: "0.0.0.0", port: 7701 });
    expect(parseHostPort("[::1]:0")).toEqual({ host: "::1", port: 0 });
    expect(parseHostPort("[fe80::1%eth0]:80")).toEqual({ host: "fe80::1%eth0", port: 80 });
    expect(parseHostPort("radar_3.local:65535")).toEqual({ host: "radar_3.local", port: 65_535 });
  });

  test("is nothing else", () => {
    for (const text of ["", "7701", ":7701", "::1:7701", "a:65536", "a:", "a b:1", "[a]:x", "a:1 "])
      expect(parseHostPort(text)).toBeUndefined();
  });
});
