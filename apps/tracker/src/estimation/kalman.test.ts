import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import fc from "fast-check";
import { DelayDopplerFilter, type Innovation, type MotionModel } from "./kalman.ts";
import { gaussian, WAVELENGTH_KM } from "../testing.ts";

const MODEL: MotionModel = {
  wavelengthKm: WAVELENGTH_KM,
  wavelengthSdKm: 0,
  dopplerRateDensity: 4,
};
const VARIANCE = { delay: 0.01, doppler: 1 };

function innovationOf(filter: DelayDopplerFilter, delayKm: number, dopplerHz: number): Innovation {
  const out = { distanceSquared: 0, likelihood: 0 };
  filter.innovation(delayKm, dopplerHz, VARIANCE, out);
  return out;
}

describe("DelayDopplerFilter", () => {
  test("shortens the delay of a closing target by λ·f each second", () => {
    const filter = new DelayDopplerFilter(50, 200, VARIANCE, 25);
    filter.predict(2, MODEL);
    expect(filter.delayKm).toBeCloseTo(50 - WAVELENGTH_KM * 200 * 2, 12);
    expect(filter.dopplerHz).toBe(200);
  });

  test("predicts the same in one step as in many", () => {
    const seconds = fc.double({ min: 0.01, max: 3, noNaN: true });
    fc.assert(
      fc.property(fc.array(seconds, { minLength: 1, maxLength: 6 }), (steps) => {
        const atOnce = new DelayDopplerFilter(50, 200, VARIANCE, 25);
        const inSteps = new DelayDopplerFilter(50, 200, VARIANCE, 25);
        atOnce.predict(
          steps.reduce((sum, step) => sum + step, 0),
          MODEL,
        );
        for (const step of steps) inSteps.predict(step, MODEL);
        expect(inSteps.delayKm).toBeCloseTo(atOnce.delayKm, 9);
        expect(inSteps.delayVariance / atOnce.delayVariance).toBeCloseTo(1, 9);
        expect(inSteps.dopplerVariance / atOnce.dopplerVariance).toBeCloseTo(1, 9);
        const ours = innovationOf(inSteps, 49, 190);
        expect(ours.distanceSquared / innovationOf(atOnce, 49, 190).distanceSquared).toBeCloseTo(
          1,
          6,
        );
      }),
    );
  });

  test("is consistent: its innovations have the predicted covariance (χ² mean 2)", () => {
    const random = seededRandom(7);
    const dtS = 0.5;
    let sum = 0;
    let count = 0;
    for (let run = 0; run < 200; run++) {
      let [delay, doppler, rate] = [40, 150, 5 * gaussian(random)];
      const measure = (): [number, number] => [
        delay + 0.1 * gaussian(random),
        doppler + gaussian(random),
      ];
      const filter = new DelayDopplerFilter(...measure(), VARIANCE, 25);
      for (let step = 0; step < 20; step++) {
        // White noise of density 4, in ten small steps.
        for (let part = 0; part < 10; part++) {
          const dt = dtS / 10;
          delay -= WAVELENGTH_KM * (doppler * dt + (rate * dt * dt) / 2);
          doppler += rate * dt;
          rate += Math.sqrt(4 * dt) * gaussian(random);
        }
        filter.predict(dtS, MODEL);
        const [measuredDelay, measuredDoppler] = measure();
        sum += innovationOf(filter, measuredDelay, measuredDoppler).distanceSquared;
        count++;
        filter.update(measuredDelay, measuredDoppler, VARIANCE);
      }
    }
    // 4000 samples of χ²(2): the mean's standard deviation is 0.03.
    expect(sum / count).toBeGreaterThan(1.85);
    expect(sum / count).toBeLessThan(2.15);
  });

  test("learns the Doppler rate from Doppler", () => {
    const filter = new DelayDopplerFilter(50, 100, VARIANCE, 25);
    for (let step = 1; step <= 20; step++) {
      const tS = step * 0.5;
      filter.predict(0.5, MODEL);
      filter.update(50 - WAVELENGTH_KM * (100 * tS + 1.5 * tS * tS), 100 + 3 * tS, VARIANCE);
    }
    expect(filter.dopplerRateHzS).toBeCloseTo(3, 0);
    expect(filter.dopplerRateVariance).toBeLessThan(5);
  });

  test("widens the delay when λ is uncertain, in proportion to the distance flown", () => {
    const known = new DelayDopplerFilter(50, 200, VARIANCE, 25);
    const unknown = new DelayDopplerFilter(50, 200, VARIANCE, 25);
    known.predict(1, MODEL);
    unknown.predict(1, { ...MODEL, wavelengthSdKm: 1e-3 });
    expect(unknown.delayVariance - known.delayVariance).toBeCloseTo(0.2 ** 2, 12);
  });

  test("does not move when no time passes", () => {
    const filter = new DelayDopplerFilter(50, 200, VARIANCE, 25);
    filter.predict(0, MODEL);
    expect([filter.delayKm, filter.delayVariance]).toEqual([50, VARIANCE.delay]);
  });

  test("has a likelihood that integrates to 1", () => {
    const filter = new DelayDopplerFilter(50, 200, VARIANCE, 25);
    filter.predict(0.5, MODEL);
    const step = { delayKm: 0.02, dopplerHz: 0.4 };
    let sum = 0;
    for (let i = -60; i <= 60; i++) {
      for (let j = -60; j <= 60; j++) {
        const at = [
          filter.delayKm + i * step.delayKm,
          filter.dopplerHz + j * step.dopplerHz,
        ] as const;
        sum += innovationOf(filter, ...at).likelihood * step.delayKm * step.dopplerHz;
      }
    }
    expect(sum).toBeCloseTo(1, 3);
  });

  test("becomes the mean and covariance of a mixture", () => {
    const a = new DelayDopplerFilter(50, 100, VARIANCE, 25);
    const b = new DelayDopplerFilter(52, 100, VARIANCE, 25);
    b.setMixture(a, b, 0.75);
    expect(b.delayKm).toBeCloseTo(50.5, 12);
    expect(b.delayVariance).toBeCloseTo(VARIANCE.delay + 0.75 * 0.25 * 4, 12);
    expect(b.dopplerVariance).toBeCloseTo(VARIANCE.doppler, 12);
  });

  test("measures the distance of another estimate, including correlations (χ² mean 3)", () => {
    const random = seededRandom(11);
    let sum = 0;
    const runs = 2000;
    for (let run = 0; run < runs; run++) {
      // Two estimates of one target without manoeuvres, from independent measurements.
      const [one, other] = [1, 2].map(() => {
        const filter = new DelayDopplerFilter(
          40 + 0.1 * gaussian(random),
          150 + gaussian(random),
          VARIANCE,
          1e4,
        );
        for (let step = 1; step <= 5; step++) {
          filter.predict(0.5, { ...MODEL, dopplerRateDensity: 0 });
          const delay = 40 - WAVELENGTH_KM * 150 * 0.5 * step;
          filter.update(delay + 0.1 * gaussian(random), 150 + gaussian(random), VARIANCE);
        }
        return filter;
      });
      const out = { distanceSquared: 0, likelihood: 0 };
      one!.separation(other!, out);
      sum += out.distanceSquared;
    }
    // The mean of 2000 samples of χ²(3) has a standard deviation of 0.055.
    expect(sum / runs).toBeWithin(2.7, 3.3);
  });
});
