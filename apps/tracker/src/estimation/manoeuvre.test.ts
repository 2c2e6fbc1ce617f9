import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { ManoeuvreFilter } from "./manoeuvre.ts";
import { gaussian, MODEL, positionAt, WAVELENGTH_KM } from "../testing.ts";

const VARIANCE = { delay: 0.01, doppler: 1 };
/** A filter after `frames` of steady flight. */
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
  test("recognises a steady flight, and a hard turn within a second", () => {
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

  test("predicts a steady flight more precisely than the turning model alone would", () => {
    const filter = steadyFor(40);
    filter.predict(MODEL);
    // The turning model alone allows for 4 Hz after 0.5 s.
    expect(Math.sqrt(filter.estimate.dopplerVariance)).toBeLessThan(2);
  });

  test("does not move with belief 0, and moves partly with belief 0.5", () => {
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

  test("has bounds that contain every detection in the gate", () => {
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

  test("stays finite after extreme detections", () => {
    const filter = steadyFor(5);
    for (const absurd of [1e300, -1e150, 0]) {
      filter.predict(MODEL);
      filter.update(absurd, -absurd, VARIANCE, 0.5);
    }
    expect(filter.turningProbability).toBeWithin(0, 1);
  });
});
