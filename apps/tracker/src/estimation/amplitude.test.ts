import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { Amplitude } from "./amplitude.ts";
import { gaussian } from "../testing.ts";

describe("Amplitude", () => {
  test("is neutral for a track whose strength is not known", () => {
    expect(new Amplitude().ratio(20, undefined)).toBe(1);
  });

  test("favours a detection as strong as earlier ones, and disfavours a different one", () => {
    const amplitude = new Amplitude();
    expect(amplitude.ratio(20, 20)).toBeGreaterThan(3);
    expect(amplitude.ratio(8, 20)).toBeLessThan(0.5);
    expect(amplitude.ratio(20, 20)).toBeGreaterThan(amplitude.ratio(14, 20));
  });

  test("discriminates better the steadier the strengths are", () => {
    const random = seededRandom(1);
    const [steady, fading] = [new Amplitude(), new Amplitude()];
    for (let index = 0; index < 1000; index++) {
      steady.learnTarget(15 + gaussian(random), 15);
      fading.learnTarget(15 + 10 * gaussian(random), 15);
    }
    const contrast = (amplitude: Amplitude) => amplitude.ratio(15, 15) / amplitude.ratio(10, 15);
    expect(contrast(steady)).toBeGreaterThan(3 * contrast(fading));
  });

  test("learns the strength of false alarms", () => {
    const random = seededRandom(2);
    const amplitude = new Amplitude();
    const before = amplitude.ratio(15, 15);
    for (let index = 0; index < 1000; index++) amplitude.learnFalseAlarm(15 + gaussian(random));
    expect(amplitude.ratio(15, 15)).toBeLessThan(before / 2);
  });

  test("stays within a factor of 30 for extreme numbers", () => {
    const amplitude = new Amplitude();
    for (const snrDb of [-1e300, -50, 0, 50, 1e300]) {
      amplitude.learnFalseAlarm(snrDb);
      amplitude.learnTarget(snrDb, 0);
      for (const meanDb of [-1e300, 0, 1e300]) {
        expect(amplitude.ratio(snrDb, meanDb)).toBeWithin(1 / 30, 30 + 1e-9);
      }
    }
  });
});
