import { describe, expect, test } from "bun:test";
import fc from "fast-check";

import { backoffMs } from "./backoff.ts";
import { seededRandom } from "./random.ts";

const lowest = { next: () => 0 };
const OPTIONS = { baseMs: 1000, capMs: 30_000 };

describe("a retry delay", () => {
  test("doubles with each failure up to the cap", () => {
    const delays = [1, 2, 3, 4, 5, 6, 7, 1000].map((n) => backoffMs(OPTIONS, n, lowest) * 2);
    expect(delays).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  test("is in the upper half of its range, for any options and random number", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 1e6 }),
        fc.nat({ max: 1e9 }),
        fc.integer({ min: 1, max: 1e6 }),
        fc.nat(),
        (baseMs, capMs, failures, seed) => {
          const delay = backoffMs({ baseMs, capMs }, failures, seededRandom(seed));
          const full = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 30));
          expect(delay).toBeGreaterThanOrEqual(full / 2);
          expect(delay).toBeLessThanOrEqual(full);
        },
      ),
    );
  });

  test("still spreads when it is capped", () => {
    const random = seededRandom(1);
    const delays = new Set(Array.from({ length: 100 }, () => backoffMs(OPTIONS, 50, random)));
    expect(delays.size).toBe(100);
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(10_000);
  });

  test("without failures equals that of the first failure", () => {
    expect(backoffMs(OPTIONS, 0, lowest)).toBe(500);
  });
});
