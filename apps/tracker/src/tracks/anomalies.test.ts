import { describe, expect, test } from "bun:test";
import { Anomalies } from "./anomalies.ts";

const SUPERSONIC_KMS = 0.7;

describe("Anomalies", () => {
  test("derives the speed from half the bistatic range rate, or the reported ground speed", () => {
    const anomalies = new Anomalies();
    anomalies.observeRangeRate(-0.3);
    expect(anomalies.maxVelocityMs).toBeCloseTo(150, 9);
    anomalies.observeAdsb({ gs: 400 }, false);
    expect(anomalies.maxVelocityMs).toBeCloseTo(205.8, 1);
    anomalies.observeRangeRate(0.1);
    expect(anomalies.maxVelocityMs).toBeCloseTo(205.8, 1);
  });

  test("marks a track supersonic after three observations, not two", () => {
    const anomalies = new Anomalies();
    anomalies.observeRangeRate(SUPERSONIC_KMS);
    anomalies.observeRangeRate(SUPERSONIC_KMS);
    expect(anomalies.types).toEqual([]);
    anomalies.observeRangeRate(SUPERSONIC_KMS);
    expect(anomalies.types).toEqual(["supersonic"]);
  });

  test("is not affected by outliers", () => {
    const anomalies = new Anomalies();
    for (let round = 0; round < 20; round++) {
      anomalies.observeRangeRate(SUPERSONIC_KMS);
      anomalies.observeRangeRate(0.2);
    }
    expect(anomalies.types).toEqual([]);
  });

  test("keeps a recorded type", () => {
    const anomalies = new Anomalies();
    for (let round = 0; round < 3; round++) anomalies.observeAdsb({ gs: 900 }, true);
    for (let round = 0; round < 9; round++) anomalies.observeAdsb({ gs: 300 }, false);
    expect(anomalies.types).toEqual(["identity_swap", "supersonic"]);
  });

  test.each([{}, { gs: "900" }, { gs: -900 }, { gs: Number.POSITIVE_INFINITY }, { gs: null }])(
    "ignores an invalid ground speed: %p",
    (adsb) => {
      const anomalies = new Anomalies();
      for (let round = 0; round < 3; round++) anomalies.observeAdsb(adsb, false);
      expect([anomalies.maxVelocityMs, anomalies.types.length]).toEqual([0, 0]);
    },
  );
});
