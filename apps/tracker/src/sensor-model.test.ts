import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { SensorModel } from "./sensor-model.ts";
import { WAVELENGTH_KM } from "./testing.ts";

describe("SensorModel", () => {
  test("learns how often targets are detected, within bounds", () => {
    const random = seededRandom(1);
    const sensor = new SensorModel(WAVELENGTH_KM);
    for (let index = 0; index < 2000; index++) sensor.learnDetection(random.next() < 0.6);
    expect(sensor.detectionProbability).toBeWithin(0.5, 0.7);
    for (let index = 0; index < 2000; index++) sensor.learnDetection(true);
    expect(sensor.detectionProbability).toBe(0.97);
    for (let index = 0; index < 2000; index++) sensor.learnDetection(false);
    expect(sensor.detectionProbability).toBe(0.4);
  });

  test("learns how many false alarms there are, and how dense they lie", () => {
    const random = seededRandom(2);
    const sensor = new SensorModel(WAVELENGTH_KM);
    for (let frame = 0; frame < 600; frame++) {
      sensor.learnFalseAlarms(20);
      for (let alarm = 0; alarm < 20; alarm++) {
        sensor.learnPlace(80 * random.next(), 300 * (2 * random.next() - 1));
      }
    }
    expect(sensor.falseAlarms).toBeCloseTo(20, 0);
    expect(sensor.clutterDensity / (20 / (80 * 600))).toBeWithin(0.8, 1.25);
  });

  test("takes a first detection for a false alarm the sooner, the more of them there are", () => {
    const sensor = new SensorModel(WAVELENGTH_KM);
    const before = sensor.birthOdds(0.5);
    for (let frame = 0; frame < 600; frame++) sensor.learnFalseAlarms(20);
    expect(sensor.birthOdds(0.5) / before).toBeCloseTo(5 / 20, 2);
    for (let frame = 0; frame < 3000; frame++) sensor.learnFalseAlarms(0);
    expect(sensor.birthOdds(0.5)).toBeLessThan(1);
  });

  test("is not misled by absurd places", () => {
    const sensor = new SensorModel(WAVELENGTH_KM);
    const before = sensor.clutterDensity;
    sensor.learnPlace(1e300, -1e300);
    expect(sensor.clutterDensity / before).toBeWithin(0.8, 1.2);
  });
});
