import { expect, test } from "bun:test";
import { coerceVersion } from "./coerce-version.ts";
import { satisfies, VersionRangeError } from "./version-range.ts";

test("a raw version becomes three numbers", () => {
  const coerced = {
    "3.11.2": "3.11.2",
    "3.13.0rc1": "3.13.0",
    "5.4": "5.4.0",
    "5.2.15": "5.2.15",
    "3.1.2p20": "3.1.2",
    "17.0.15": "17.0.15",
    "21": "21.0.0",
    "1.8.0_392": "8.0.392",
    "2.1.0-beta3": "2.1.0",
  };
  for (const [raw, version] of Object.entries(coerced)) expect(coerceVersion(raw)).toBe(version);
  expect(coerceVersion("trunk")).toBeNull();
});

test("constraints in npm's and Python's syntax are supported", () => {
  expect(satisfies("3.11.2", ">=3.9")).toBe(true);
  expect(satisfies("3.8.18", ">=3.9")).toBe(false);
  expect(satisfies("3.11.2", ">=3.9,<3.11")).toBe(false);
  expect(satisfies("3.10.1", ">=3.9, <3.11")).toBe(true);
  expect(satisfies("20.20.2", "^18 || ^20")).toBe(true);
  expect(satisfies("1.8.0_392", ">=8")).toBe(true);
});

test("an unknown version satisfies only `*`", () => {
  expect(satisfies(null, "*")).toBe(true);
  expect(satisfies(null, ">=0.1")).toBe(false);
  expect(satisfies("trunk", ">=1")).toBe(false);
});

test("an invalid range is an error that quotes it, for any version", () => {
  for (const version of ["3.11.2", null]) {
    expect(() => satisfies(version, ">=three")).toThrow(VersionRangeError);
    expect(() => satisfies(version, ">=three")).toThrow('">=three" is not a version range');
  }
});
