import { describe, expect, test } from "bun:test";
import { type Adsb, type Frame, hexOf } from "../input/frame.ts";
import { type Associable, associate as associateWith, DetectionSet } from "./association.ts";
import { ManoeuvreFilter } from "../estimation/manoeuvre.ts";
import { MeasurementNoise } from "../estimation/measurement-noise.ts";

const NOISE = new MeasurementNoise({ delayKm: 0.1, dopplerHz: 1 });
const GATE = 16;
const SENSOR = {
  detectionProbability: 0.9,
  clutterDensity: () => 1e-4,
  amplitude: { ratio: () => 1 },
};

function associate(tracks: readonly Associable[], set: DetectionSet) {
  return associateWith(tracks, set, GATE, SENSOR);
}

function trackAt(
  delayKm: number,
  dopplerHz: number,
  adsbHex: string | null = null,
  presence = 1,
): Associable {
  const filter = new ManoeuvreFilter(delayKm, dopplerHz, { delay: 0.01, doppler: 1 }, 1);
  return { filter, adsbHex, presence, snrDb: undefined };
}

function detections(
  points: readonly (readonly [number, number])[],
  adsb: readonly (Adsb | null)[] = [],
  snrDb = 12,
  snrMinDb = 0,
  density = 1e-4,
): DetectionSet {
  const frame: Frame = {
    timestampMs: 0,
    delaysKm: points.map(([delay]) => delay),
    dopplersHz: points.map(([, doppler]) => doppler),
    snrsDb: points.map(() => snrDb),
    adsb: points.map((_, index) => adsb[index] ?? null),
  };
  return new DetectionSet(frame, NOISE, { ...SENSOR, clutterDensity: () => density }, snrMinDb);
}

describe("associate", () => {
  test("assigns each track the detection at its prediction, and leaves the others unassigned", () => {
    const set = detections([
      [80, 5],
      [20, -50],
      [10, 100],
    ]);
    const { detectionOfTrack } = associate([trackAt(10, 100), trackAt(20, -50)], set);
    expect([...detectionOfTrack]).toEqual([2, 1]);
    expect([...set.taken]).toEqual([0, 1, 1]);
  });

  test("ignores detections outside the gate", () => {
    // The half-axes of the gate are 4 standard deviations of the combined error of prediction and measurement.
    const sdHz = Math.sqrt(1 + NOISE.variance(12).doppler);
    const inside = detections([[10, 100 + 3.99 * sdHz]]);
    const outside = detections([[10, 100 + 4.01 * sdHz]]);
    expect([...associate([trackAt(10, 100)], inside).detectionOfTrack]).toEqual([0]);
    expect([...associate([trackAt(10, 100)], outside).detectionOfTrack]).toEqual([-1]);
  });

  test("assigns a track its second choice if the total is better", () => {
    // Detection 0 is nearest to both tracks; only the first has an alternative.
    const set = detections([
      [10, 101],
      [10, 98],
    ]);
    const { detectionOfTrack } = associate([trackAt(10, 100), trackAt(10, 103)], set);
    expect([...detectionOfTrack]).toEqual([1, 0]);
  });

  test("leaves the worse of two tracks without a detection when there is only one", () => {
    const set = detections([[10, 101]]);
    const { detectionOfTrack } = associate([trackAt(10, 104), trackAt(10, 100)], set);
    expect([...detectionOfTrack]).toEqual([-1, 0]);
  });

  test("follows the aircraft's address where two tracks cross", () => {
    const set = detections(
      [
        [10, 100.5],
        [10, 101.5],
      ],
      [{ hex: "bbb" }, { hex: "aaa" }],
    );
    const tracks = [trackAt(10, 100.5, "aaa"), trackAt(10, 101.5, "bbb")];
    expect([...associate(tracks, set).detectionOfTrack]).toEqual([1, 0]);
  });

  test("follows the aircraft's address twice as far", () => {
    const sdHz = Math.sqrt(1 + NOISE.variance(12).doppler);
    const at = (sds: number, hex: string) =>
      associate([trackAt(10, 100, "aaa")], detections([[10, 100 + sds * sdHz]], [{ hex }]))
        .detectionOfTrack[0];
    expect([at(5, "aaa"), at(5, "bbb"), at(8.01, "aaa")]).toEqual([0, -1, -1]);
  });

  test("treats a distant detection as a false alarm if these are frequent or the track is doubtful", () => {
    const far = (density: number) => detections([[10, 106]], [], 12, 0, density);
    const assigned = (presence: number, density: number) =>
      associate([trackAt(10, 100, null, presence)], far(density)).detectionOfTrack[0];
    expect([assigned(1, 1e-4), assigned(1, 1), assigned(1e-4, 1e-4)]).toEqual([0, -1, -1]);
  });

  test("ignores detections that are taken or too weak", () => {
    const set = detections([[10, 100]]);
    set.taken[0] = 1;
    expect([...associate([trackAt(10, 100)], set).detectionOfTrack]).toEqual([-1]);
    const weak = detections([[10, 100]], [], 6.9, 7);
    expect([...associate([trackAt(10, 100)], weak).detectionOfTrack]).toEqual([-1]);
    const strong = detections([[10, 100]], [], 7, 7);
    expect([...associate([trackAt(10, 100)], strong).detectionOfTrack]).toEqual([0]);
  });

  test("solves a flood of overlapping tracks greedily, and counts it", () => {
    const points = Array.from({ length: 300 }, (_, index): [number, number] => [
      10,
      100 + index / 1e3,
    ]);
    const tracks = points.map(([delay, doppler]) => trackAt(delay, doppler));
    const { detectionOfTrack, greedyClusters } = associate(tracks, detections(points));
    expect(greedyClusters).toBe(1);
    expect(new Set(detectionOfTrack).size).toBe(300);
    expect(detectionOfTrack).not.toContain(-1);
  });
});

describe("hexOf", () => {
  test("is the address of an ADS-B match, or null", () => {
    expect(hexOf({ hex: "a1b2c3" })).toBe("a1b2c3");
    for (const adsb of [null, {}, { hex: 7 }, { hex: "" }]) expect(hexOf(adsb)).toBeNull();
  });
});
