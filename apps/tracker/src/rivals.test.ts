import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { DEFAULT_CONFIG } from "./config.ts";
import { Existence } from "./existence.ts";
import { ManoeuvreFilter, manoeuvreModel } from "./manoeuvre.ts";
import { findMergers } from "./rivals.ts";
import { gaussian, positionAt, WAVELENGTH_KM } from "./testing.ts";
import { Track } from "./track.ts";

const VARIANCE = { delay: 0.01, doppler: 1 };
const INTERVAL_MS = 500;
/** One new target in two seconds within 100 km, 800 Hz and 10 Hz/s, or so. */
const DENSITY = 1e-7;
const { steady, turning } = DEFAULT_CONFIG.rangeJerkDensity;
const motion = (density: number) => ({
  wavelengthKm: WAVELENGTH_KM,
  wavelengthSdKm: 0,
  dopplerRateDensity: density / WAVELENGTH_KM ** 2,
});
const MODEL = manoeuvreModel(INTERVAL_MS / 1000, motion(steady), motion(turning));

/** Tracks that follow flights, each detected in the frames that `seen` says. */
class Follower {
  readonly track: Track;
  readonly #random;
  readonly #flight;

  constructor(seed: number, flight: { delayKm: number; dopplerHz: number }, hex?: string) {
    this.#random = seededRandom(seed);
    this.#flight = flight;
    const filter = new ManoeuvreFilter(flight.delayKm, flight.dopplerHz, VARIANCE, 10);
    const adsb = hex === undefined ? null : { hex };
    const first = { ...flight, timestampMs: seed, snrDb: 10, adsb };
    this.track = new Track(filter, new Existence(1), first, 20);
  }

  frame(index: number, isSeen: boolean): void {
    const { delayKm, dopplerHz } = positionAt(this.#flight, (index * INTERVAL_MS) / 1000);
    const detection = {
      timestampMs: 1000 + index * INTERVAL_MS,
      delayKm: delayKm + 0.1 * gaussian(this.#random),
      dopplerHz: dopplerHz + gaussian(this.#random),
      snrDb: 10,
      adsb: null,
    };
    this.track.filter.predict(MODEL);
    if (!isSeen) return;
    this.track.filter.update(detection.delayKm, detection.dopplerHz, VARIANCE, 1);
    this.track.record(detection);
  }
}

/** The mergers of all frames, the second track being missed from frame 40 on. */
function mergersOf(one: Follower, other: Follower, otherSeen = (index: number) => index < 40) {
  const mergers = [];
  for (let index = 1; index < 60; index++) {
    one.frame(index, true);
    other.frame(index, otherSeen(index));
    mergers.push(...findMergers([one.track, other.track], 1000 + index * INTERVAL_MS, DENSITY));
  }
  return mergers;
}

describe("findMergers", () => {
  const flight = { delayKm: 40, dopplerHz: 100 };

  test("merges the younger of two tracks that agree, once only the other is detected", () => {
    const [older, younger] = [new Follower(1, flight), new Follower(2, flight)];
    expect(mergersOf(younger, older)[0]).toEqual({ kept: older.track, dropped: younger.track });
  });

  test("leaves two that are both detected alone, however alike they are", () => {
    const all = mergersOf(new Follower(1, flight), new Follower(2, flight), () => true);
    expect(all).toEqual([]);
    const often = mergersOf(new Follower(1, flight), new Follower(2, flight), (i) => i % 4 === 0);
    expect(often).toEqual([]);
  });

  test("leaves two apart that lie a kilometre or 20 Hz from each other", () => {
    for (const far of [
      { delayKm: 41, dopplerHz: 100 },
      { delayKm: 40, dopplerHz: 120 },
    ]) {
      expect(mergersOf(new Follower(1, flight), new Follower(2, far))).toEqual([]);
    }
  });

  test("leaves two apart whose addresses differ", () => {
    expect(mergersOf(new Follower(1, flight, "aaa"), new Follower(2, flight, "bbb"))).toEqual([]);
    expect(mergersOf(new Follower(1, flight, "aaa"), new Follower(2, flight, "aaa"))).not.toEqual(
      [],
    );
  });
});
