import { describe, expect, test } from "bun:test";
import { Existence, existenceTransition } from "./existence.ts";

const FRAME = existenceTransition(0.5);

/** The existence after `hits` detections, which make it nearly certain. */
function confirmed(hits = 10): Existence {
  const existence = new Existence(0.01);
  for (let frame = 0; frame < hits; frame++) {
    existence.predict(FRAME);
    existence.hit(100);
  }
  return existence;
}

/** Frames of misses until the probability is below `limit`. */
function missesUntil(existence: Existence, limit: number, detectionProbability: number): number {
  let frames = 0;
  while (existence.probability >= limit && frames < 1000) {
    existence.predict(FRAME);
    existence.miss(detectionProbability);
    frames++;
  }
  return frames;
}

describe("Existence", () => {
  test("multiplies the odds of a seen target by each hit's likelihood ratio", () => {
    const existence = new Existence(0.01);
    expect(existence.probability).toBeCloseTo(0.01 / 1.01, 12);
    existence.hit(50);
    expect(existence.probability).toBeCloseTo(0.5 / 1.5, 12);
    existence.miss(0.9);
    expect(existence.probability).toBeCloseTo(0.05 / 1.05, 12);
  });

  test("keeps a target that fades for seconds, and drops one that has left", () => {
    // 8 s are 16 frames, half a minute 60.
    expect(missesUntil(confirmed(), 0.1, 0.9)).toBeWithin(17, 60);
  });

  test("drops a track later when the radar has a lower detection probability", () => {
    expect(missesUntil(confirmed(), 0.5, 0.5)).toBeGreaterThan(missesUntil(confirmed(), 0.5, 0.95));
  });

  test("has a limited memory: more hits do not make a track last longer", () => {
    const once = missesUntil(confirmed(10), 0.1, 0.9);
    expect(missesUntil(confirmed(10_000), 0.1, 0.9)).toBeWithin(once, once + 2);
  });

  test("stays a probability for extreme ratios", () => {
    const existence = new Existence(1e-12);
    for (const ratio of [1e300, 0, 1e300, 1e-300, 1]) {
      existence.predict(existenceTransition(1e6));
      existence.hit(ratio);
      expect(existence.probability).toBeWithin(0, 1 + 1e-9);
      expect(existence.seenProbability).toBeWithin(0, 1 + 1e-9);
    }
  });

  test("predicts the same in one step as in many", () => {
    const [atOnce, inSteps] = [confirmed(), confirmed()];
    atOnce.predict(existenceTransition(6));
    for (let step = 0; step < 12; step++) inSteps.predict(FRAME);
    expect(inSteps.probability).toBeCloseTo(atOnce.probability, 12);
    expect(inSteps.seenProbability).toBeCloseTo(atOnce.seenProbability, 12);
  });
});
