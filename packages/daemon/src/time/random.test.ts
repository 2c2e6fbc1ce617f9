import { describe, expect, test } from "bun:test";

import { seededRandom, systemRandom } from "./random.ts";

describe("random numbers", () => {
  test("are in [0, 1) and uniform", () => {
    for (const random of [systemRandom, seededRandom(42)]) {
      const tenths = Array.from({ length: 10 }, () => 0);
      for (let i = 0; i < 20_000; i++) {
        const value = random.next();
        if (!(value >= 0 && value < 1)) throw new Error(`out of range: ${value}`);
        const tenth = Math.floor(value * 10);
        tenths[tenth] = (tenths[tenth] ?? 0) + 1;
      }
      // 2000 expected; six standard deviations are 255.
      for (const count of tenths) expect(Math.abs(count - 2000)).toBeLessThan(255);
    }
  });

  test("repeat for the same seed and differ for another", () => {
    const take = (seed: number): number[] => {
      const random = seededRandom(seed);
      return Array.from({ length: 5 }, () => random.next());
    };
    expect(take(7)).toEqual(take(7));
    expect(take(7)).not.toEqual(take(8));
    expect(take(-1)).toEqual(take(2 ** 32 - 1));
  });
});
