import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { SensorModel } from "./sensor-model.ts";
import { WAVELENGTH_KM } from "../testing.ts";

describe("SensorModel", () => {
  test("learns the detection probability within bounds", () => {
    const random = seededRandom(1);
    const sensor = new SensorModel(WAVELENGTH_KM);
    for (let index = 0; index < 2000; index++) sensor.learnDetection(random.next() < 0.6);
    expect(sensor.detectionProbability).toBeWithin(0.5, 0.7);
    for (let index = 0; index < 2000; index++) sensor.learnDetection(true);
    expect(sensor.detectionProbability).toBe(0.97);
    for (let index = 0; index < 2000; index++) sensor.learnDetection(false);
    expect(sensor.detectionProbability).toBe(0.4);
  });

  test("learns the number and the density of false alarms", () => {
    const random = seededRandom(2);
    const sensor = new SensorModel(WAVELENGTH_KM);
    for (let frame = 0; frame < 600; frame++) {
      sensor.learnFalseAlarms(20);
      for (let alarm = 0; alarm < 20; alarm++) {
        sensor.learnFalseAlarmAt(80 * random.next(), 300 * (2 * random.next() - 1));
      }
    }
    const densities = [-200, -90, 7, 150].map((dopplerHz) => sensor.clutterDensity(40, dopplerHz));
    for (const density of densities) expect(density / (20 / (80 * 600))).toBeWithin(0.5, 2);
  });

  test("learns where false alarms are dense", () => {
    const random = seededRandom(3);
    const sensor = new SensorModel(WAVELENGTH_KM);
    for (let frame = 0; frame < 300; frame++) {
      sensor.learnFalseAlarms(12);
      for (let alarm = 0; alarm < 12; alarm++) {
        const width = alarm < 10 ? 10 : 300;
        sensor.learnFalseAlarmAt(60 * random.next(), width * (2 * random.next() - 1));
      }
    }
    expect(sensor.clutterDensity(30, 0) / (10 / (60 * 20))).toBeWithin(0.5, 2);
    expect(sensor.clutterDensity(30, 0) / sensor.clutterDensity(30, 200)).toBeGreaterThan(3);
  });

  test("lowers the odds of a new target when false alarms are frequent", () => {
    const sensor = new SensorModel(WAVELENGTH_KM);
    const random = seededRandom(4);
    const odds = () => sensor.birthOdds(0.5, sensor.clutterDensity(40, 100));
    const before = odds();
    for (let frame = 0; frame < 600; frame++) {
      sensor.learnFalseAlarms(20);
      for (let alarm = 0; alarm < 20; alarm++) {
        sensor.learnFalseAlarmAt(100 * random.next(), 200 * (2 * random.next() - 1));
      }
    }
    expect(odds() / before).toBeLessThan(0.5);
  });

  test("is hardly affected by extreme positions", () => {
    const sensor = new SensorModel(WAVELENGTH_KM);
    const before = sensor.clutterDensity(40, 100);
    for (const absurd of [1e300, -1e300]) sensor.learnFalseAlarmAt(absurd, -absurd);
    expect(sensor.clutterDensity(40, 100) / before).toBeWithin(0.8, 1.2);
    expect(sensor.clutterDensity(-1e300, 1e300)).toBeGreaterThan(0);
  });
});
