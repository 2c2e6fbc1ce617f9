import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { gaussian, INTERVAL_MS, START_MS } from "../testing.ts";
import { Wavelength, WavelengthSpan } from "./wavelength.ts";

const DELAY_VARIANCE = 0.01;

/** Lets `wavelength` learn from aircraft with various Dopplers for `seconds` each, at a true λ of `km`. */
function watch(wavelength: Wavelength, km: number, flights: number, seconds: number): void {
  const random = seededRandom(11);
  for (let flight = 0; flight < flights; flight++) {
    const span = new WavelengthSpan();
    const dopplerHz = -250 + 500 * random.next();
    for (let tS = 0; tS <= seconds; tS += INTERVAL_MS / 1000) {
      const delayKm = 40 - km * dopplerHz * tS + 0.1 * gaussian(random);
      const measuredHz = dopplerHz + gaussian(random);
      span.observe(START_MS + tS * 1000, delayKm, measuredHz, DELAY_VARIANCE, wavelength);
    }
  }
}

describe("Wavelength", () => {
  test.each([88e6, 195e6, 539e6, 800e6])("learns a carrier of %d Hz to 2 %%", (fc) => {
    const km = 299_792.458 / fc;
    const wavelength = new Wavelength(undefined);
    expect(wavelength.isSettled).toBe(false);
    watch(wavelength, km, 30, 30);
    expect(wavelength.isSettled).toBe(true);
    expect(Math.abs(wavelength.estimate.km / km - 1)).toBeLessThan(0.02);
  });

  test("uses the configured carrier exactly while the stream agrees", () => {
    const km = 299_792.458 / 100e6;
    const wavelength = new Wavelength(100e6);
    watch(wavelength, km * 1.005, 30, 30);
    expect(wavelength.estimate).toEqual({ km, sdKm: 0 });
    expect([wavelength.isSettled, wavelength.takeNotice()]).toEqual([true, undefined]);
  });

  test("drops a configured carrier that the stream contradicts, and reports it once", () => {
    const wavelength = new Wavelength(177e6);
    watch(wavelength, 299_792.458 / 195e6, 30, 30);
    expect(wavelength.estimate.km / (299_792.458 / 195e6)).toBeWithin(0.95, 1.05);
    expect(wavelength.takeNotice()).toMatch(
      /^radar\.center_frequency is 177\.0 MHz, but the motion of targets implies (19|20)\d\.\d MHz, which is used instead$/,
    );
    watch(wavelength, 299_792.458 / 195e6, 30, 30);
    expect(wavelength.takeNotice()).toBeUndefined();
  });

  test("reports the learned carrier once", () => {
    const wavelength = new Wavelength(undefined);
    watch(wavelength, 299_792.458 / 195e6, 90, 30);
    expect(wavelength.takeNotice()).toMatch(
      /^center frequency learned from the stream: (18|19|20)\d\.\d MHz$/,
    );
    expect(wavelength.takeNotice()).toBeUndefined();
  });

  test("is not affected by a single outlier", () => {
    const wavelength = new Wavelength(undefined);
    watch(wavelength, 1.5e-3, 30, 30);
    const before = wavelength.estimate;
    wavelength.learn(50, 1000, DELAY_VARIANCE);
    expect(wavelength.estimate).toEqual(before);
  });

  test("learns again when the radar is retuned", () => {
    const wavelength = new Wavelength(undefined);
    watch(wavelength, 3e-3, 30, 30);
    watch(wavelength, 0.6e-3, 60, 30);
    expect(wavelength.estimate.km).toBeCloseTo(0.6e-3, 4);
  });

  test("returns to the initial values on reset", () => {
    const wavelength = new Wavelength(undefined);
    const fresh = wavelength.estimate;
    watch(wavelength, 3e-3, 10, 30);
    expect(wavelength.estimate).not.toEqual(fresh);
    wavelength.reset();
    expect(wavelength.estimate).toEqual(fresh);
  });
});

describe("WavelengthSpan", () => {
  test("learns nothing across a gap, or when time stands still or goes back", () => {
    const wavelength = new Wavelength(undefined);
    const fresh = wavelength.estimate;
    const span = new WavelengthSpan();
    for (const timestampMs of [0, 5000, 5000, 4000, 9000]) {
      span.observe(START_MS + timestampMs, 40, 100, DELAY_VARIANCE, wavelength);
    }
    expect(wavelength.estimate).toEqual(fresh);
  });
});
