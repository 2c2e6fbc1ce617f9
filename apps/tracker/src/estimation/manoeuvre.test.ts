import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { ManoeuvreFilter } from "./manoeuvre.ts";
import { gaussian, MODEL, positionAt, WAVELENGTH_KM } from "../testing.ts";

const VARIANCE = { delay: 0.01, doppler: 1 };
/** A filter that has followed a steady flight for `frames`. */
function steadyFor(frames: number): ManoeuvreFilter {
  const random = seededRandom(3);
  const flight = { delayKm: 40, dopplerHz: 100 };
  const filter = new ManoeuvreFilter(40, 100, VARIANCE, 10);
  for (let frame = 1; frame <= frames; frame++) {
    const at = positionAt(flight, frame * 0.5);
    filter.predict(MODEL);
    filter.update(
      at.delayKm + 0.1 * gaussian(random),
      at.dopplerHz + gaussian(random),
      VARIANCE,
      1,
    );
  }
  return filter;
}

describe("ManoeuvreFilter", () => {
  test("takes a steady flight for one, and a hard turn for one within a second", () => {
    const filter = steadyFor(40);
    expect(filter.turningProbability).toBeLessThan(0.1);
    let { delayKm, dopplerHz } = filter.estimate;
    for (let frame = 1; frame <= 2; frame++) {
      // 15 Hz/s, a range acceleration of 23 m/s².
      delayKm -= WAVELENGTH_KM * (dopplerHz * 0.5 + 15 * 0.125);
      dopplerHz += 7.5;
      filter.predict(MODEL);
      filter.update(delayKm, dopplerHz, VARIANCE, 1);
    }
    expect(filter.turningProbability).toBeGreaterThan(0.8);
    expect(filter.estimate.dopplerHz).toBeWithin(dopplerHz - 2, dopplerHz + 2);
  });

  test("predicts a steady flight closer than the turning model alone would", () => {
    const filter = steadyFor(40);
    filter.predict(MODEL);
    // After 0.5 s of a change of turn the turning model alone allows for 4 Hz.
    expect(Math.sqrt(filter.estimate.dopplerVariance)).toBeLessThan(2);
  });

  test("stays where it was when it is told not to believe, and in between when half", () => {
    const [sure, half, never] = [1, 0.5, 0].map((belief) => {
      const filter = steadyFor(10);
      filter.predict(MODEL);
      const before = filter.estimate.dopplerHz;
      filter.update(filter.estimate.delayKm, before + 6, VARIANCE, belief);
      return {
        moved: filter.estimate.dopplerHz - before,
        variance: filter.estimate.dopplerVariance,
      };
    });
    expect(never!.moved).toBeCloseTo(0, 9);
    expect(half!.moved / sure!.moved).toBeWithin(0.2, 0.8);
    expect(half!.variance).toBeGreaterThan(sure!.variance);
  });

  test("has bounds that no detection in the gate lies beyond", () => {
    const random = seededRandom(5);
    const filter = steadyFor(5);
    filter.predict(MODEL);
    const out = { distanceSquared: 0, likelihood: 0 };
    const bounds = { delayMinKm: 0, delayMaxKm: 0, dopplerMinHz: 0, dopplerMaxHz: 0 };
    filter.bounds(16, VARIANCE, bounds);
    const { delayMinKm, delayMaxKm, dopplerMinHz, dopplerMaxHz } = bounds;
    let inside = 0;
    for (let index = 0; index < 5000; index++) {
      const delay = delayMinKm - 1 + (delayMaxKm - delayMinKm + 2) * random.next();
      const doppler = dopplerMinHz - 5 + (dopplerMaxHz - dopplerMinHz + 10) * random.next();
      filter.innovation(delay, doppler, VARIANCE, out);
      if (out.distanceSquared > 16) continue;
      inside++;
      expect(delay).toBeWithin(delayMinKm, delayMaxKm);
      expect(doppler).toBeWithin(dopplerMinHz, dopplerMaxHz);
    }
    expect(inside).toBeGreaterThan(100);
  });

  test("stays finite through absurd detections", () => {
    const filter = steadyFor(5);
    for (const absurd of [1e300, -1e150, 0]) {
      filter.predict(MODEL);
      filter.update(absurd, -absurd, VARIANCE, 0.5);
    }
    expect(filter.turningProbability).toBeWithin(0, 1);
  });
});
