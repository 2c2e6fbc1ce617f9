import { describe, expect, test } from "bun:test";
import { ClutterMap } from "./clutter-map.ts";

const MEAN = 1e-2;

describe("ClutterMap", () => {
  test("returns the mean before any sample", () => {
    expect(new ClutterMap().density(40, 100, MEAN)).toBe(MEAN);
  });

  test("learns the density of a cell, and of no other", () => {
    const map = new ClutterMap();
    for (let frame = 0; frame < 1000; frame++) {
      map.nextFrame();
      // The cell at 3 km and 1 Hz is 8.0 km and 4.0 Hz wide.
      map.learn(3, 1);
    }
    expect(map.density(3, 1, MEAN) / (1 / (8 * 4))).toBeWithin(0.9, 1.1);
    for (const [delay, doppler] of [
      [3, 5],
      [3, -1],
      [12, 1],
    ] as const) {
      expect(map.density(delay, doppler, MEAN)).toBeLessThanOrEqual(MEAN);
    }
  });

  test("returns at least half the mean", () => {
    const map = new ClutterMap();
    for (let frame = 0; frame < 5000; frame++) map.nextFrame();
    expect(map.density(100, 300, MEAN)).toBe(MEAN / 2);
  });

  test("forgets within a few hundred frames", () => {
    const map = new ClutterMap();
    for (let frame = 0; frame < 500; frame++) {
      map.nextFrame();
      map.learn(3, 1);
    }
    expect(map.density(3, 1, MEAN)).toBeGreaterThan(2 * MEAN);
    for (let frame = 0; frame < 1000; frame++) map.nextFrame();
    expect(map.density(3, 1, MEAN)).toBeLessThan(MEAN);
  });

  test("accepts any number", () => {
    const map = new ClutterMap();
    map.nextFrame();
    for (const value of [-1e300, -5, 0, 5, 1e300]) {
      map.learn(value, value);
      expect(map.density(value, value, MEAN)).toBeGreaterThan(0);
    }
  });
});
