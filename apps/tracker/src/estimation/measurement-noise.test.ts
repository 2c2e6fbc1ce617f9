import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { MeasurementNoise } from "./measurement-noise.ts";
import { gaussian } from "../testing.ts";

const CONFIG = { delayKm: 0.1, dopplerHz: 1 };
const PREDICTED = { delay: 0.004, doppler: 0.5 };

/** Passes `count` residuals of a radar with these standard deviations at `snrDb` to `noise`. */
function teach(
  noise: MeasurementNoise,
  snrDb: number,
  delayKm: number,
  dopplerHz: number,
  count = 600,
) {
  const random = seededRandom(17);
  for (let index = 0; index < count; index++) {
    const delay = Math.sqrt(delayKm ** 2 + PREDICTED.delay) * gaussian(random);
    const doppler = Math.sqrt(dopplerHz ** 2 + PREDICTED.doppler) * gaussian(random);
    noise.learn(snrDb, delay, doppler, PREDICTED);
  }
}

describe("MeasurementNoise", () => {
  test("starts at four times the configured variance, lower for strong detections, within bounds", () => {
    const noise = new MeasurementNoise(CONFIG);
    const at = (snrDb: number): number => noise.variance(snrDb).delay;
    expect(at(12)).toBeCloseTo(0.04 * 10 ** -0.25, 9);
    for (const weak of [-40, 2]) expect(at(weak)).toBeCloseTo(0.08, 9);
    expect(at(60)).toBeCloseTo(0.004, 9);
  });

  test("learns the precision of the radar for each band of SNR separately", () => {
    const noise = new MeasurementNoise(CONFIG);
    const before = { ...noise.variance(22) };
    teach(noise, 12, 0.4, 3);
    expect(Math.sqrt(noise.variance(12).delay) / 0.4).toBeWithin(0.7, 1.4);
    expect(Math.sqrt(noise.variance(12).doppler) / 3).toBeWithin(0.7, 1.4);
    expect(noise.variance(22)).toEqual(before);
  });

  test("learns fast at first: forty residuals reveal a radar three times less precise", () => {
    const noise = new MeasurementNoise(CONFIG);
    teach(noise, 12, 0.3, 3, 40);
    expect(Math.sqrt(noise.variance(12).delay) / 0.3).toBeWithin(0.6, 1.6);
    expect(Math.sqrt(noise.variance(12).doppler) / 3).toBeWithin(0.6, 1.6);
  });

  test("is hardly affected by one outlier in twenty residuals", () => {
    const random = seededRandom(19);
    const noise = new MeasurementNoise(CONFIG);
    const { delay, doppler } = noise.variance(12);
    const start = { delay, doppler };
    for (let index = 0; index < 2000; index++) {
      const odd = index % 20 === 0 ? 50 : 1;
      const sd = (variance: number, predicted: number): number =>
        odd * Math.sqrt(variance + predicted);
      const delayResidual = sd(start.delay, PREDICTED.delay) * gaussian(random);
      const dopplerResidual = sd(start.doppler, PREDICTED.doppler) * gaussian(random);
      noise.learn(12, delayResidual, dopplerResidual, PREDICTED);
    }
    expect(noise.variance(12).delay / start.delay).toBeWithin(0.5, 2);
    expect(noise.variance(12).doppler / start.doppler).toBeWithin(0.5, 2);
  });

  test("stays between a sixteenth and a hundred times the configured variance", () => {
    const noise = new MeasurementNoise(CONFIG);
    for (let index = 0; index < 500; index++) noise.learn(12, 0, 1e9, PREDICTED);
    expect(noise.variance(12).delay).toBeCloseTo((0.01 * 10 ** -0.25) / 16, 9);
    expect(noise.variance(12).doppler).toBeCloseTo(100 * 10 ** -0.25, 9);
  });

  test("returns to the initial values on reset", () => {
    const noise = new MeasurementNoise(CONFIG);
    const before = { ...noise.variance(12) };
    teach(noise, 12, 1, 9);
    noise.reset();
    expect(noise.variance(12)).toEqual(before);
  });
});
