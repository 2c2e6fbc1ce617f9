import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { matchesGlob } from "./glob.ts";

describe("matchesGlob (H5)", () => {
  test.each([
    ["radar3", "radar3", true],
    ["radar3", "radar33", false],
    ["radar3", "xradar3", false],
    ["radar*", "radar", true],
    ["radar*", "radar3", true],
    ["*", "", true],
    ["", "", true],
    ["", "a", false],
    ["?", "", false],
    ["?", "a", true],
    ["r?d*-?", "rad-ar-3", true],
    ["a*b*c", "a-c-b-c", true],
    ["a*b", "ab-a", false],
    ["RADAR", "radar", false],
    ["a.c", "abc", false],
  ])("%p on %p: %p", (pattern, text, expected) => {
    expect(matchesGlob(pattern, text)).toBe(expected);
  });

  test("agrees with a regular expression", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
    const pattern = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (glob, value) => {
        const regex = glob.replaceAll("?", ".").replaceAll("*", ".*");
        return matchesGlob(glob, value) === new RegExp(`^${regex}$`).test(value);
      }),
    );
  });

  test("takes at most pattern length × text length steps, even for a pattern of stars", () => {
    let steps = 0;
    const counted = new Proxy(new String("a".repeat(64)), {
      get: (target, key) => {
        steps++;
        return Reflect.get(target, key, target) as unknown;
      },
    }) as unknown as string;
    expect(matchesGlob(`${"*a".repeat(31)}b`, counted)).toBe(false);
    expect(steps).toBeLessThan(64 * 64 * 4);
  });
});
