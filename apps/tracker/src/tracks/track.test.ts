import { describe, expect, test } from "bun:test";
import { Existence } from "./existence.ts";
import { ManoeuvreFilter } from "../estimation/manoeuvre.ts";
import { afterHit, afterMiss, type LifeRules, Track, type TrackState } from "./track.ts";

const RULES: LifeRules = {
  confirmProbability: 0.99,
  hitsMin: 3,
  window: 6,
  dropProbability: 0.1,
  missedMax: 4,
};
const BEGINNING: TrackState = { at: "tentative", hits: 1, frames: 1, birthProbability: 0.01 };

/** The state after a series of frames (h: hit, m: miss) with a constant existence probability. */
function live(frames: string, probability = 0.995, from = BEGINNING): TrackState {
  let state = from;
  for (const frame of frames) {
    state =
      frame === "h"
        ? afterHit(state, probability, RULES, () => "id")
        : afterMiss(state, probability, RULES);
  }
  return state;
}

describe("a track's life", () => {
  test("is confirmed at the probability and after M detections", () => {
    for (const frames of ["hh", "mhh", "mmhh", "hmmh"]) {
      expect(live(frames)).toEqual({ at: "confirmed", id: "id" });
    }
    expect(live("h").at).toBe("tentative");
    expect(live("hh", 0.989).at).toBe("tentative");
    expect(live("hh", 0.99).at).toBe("confirmed");
  });

  test("is deleted when it stays undecided for N frames", () => {
    expect(live("hhhh", 0.5).at).toBe("tentative");
    expect(live("hhhhh", 0.5)).toEqual({ at: "deleted" });
  });

  test("is deleted while tentative when it has become 50 times less likely", () => {
    expect(live("m", 0.0002).at).toBe("tentative");
    expect(live("m", 0.000_199)).toEqual({ at: "deleted" });
  });

  test("coasts when missed, and recovers with the same id", () => {
    expect(live("hhmm")).toEqual({ at: "coasting", id: "id", missed: 2 });
    expect(live("hhmmh")).toEqual({ at: "confirmed", id: "id" });
  });

  test("is deleted when its target has probably left, or at the limit of consecutive misses", () => {
    const confirmed = live("hh");
    expect(live("m", 0.1, confirmed).at).toBe("coasting");
    expect(live("m", 0.099, confirmed)).toEqual({ at: "deleted" });
    expect(live("mmm", 0.9, confirmed).at).toBe("coasting");
    expect(live("mmmm", 0.9, confirmed)).toEqual({ at: "deleted" });
    expect(live("mmmhmmmhmmm", 0.9, confirmed).at).toBe("coasting");
  });

  test("stays deleted", () => {
    expect(live("hhmmmmhm")).toEqual({ at: "deleted" });
  });
});

describe("Track", () => {
  const begin = (hex: string | null): Track =>
    new Track(
      new ManoeuvreFilter(1, 1, { delay: 1, doppler: 1 }, 1),
      new Existence(0.01),
      seen(hex),
      20,
    );
  const seen = (hex: string | null) => ({
    timestampMs: 0,
    delayKm: 1,
    dopplerHz: 1,
    snrDb: 10,
    adsb: hex === null ? null : { hex },
  });

  test("takes the first address it receives, and records whether its first detection had one", () => {
    const track = begin(null);
    expect([track.adsbHex, track.adsbInitialized]).toEqual([null, false]);
    track.record(seen("aaa"));
    expect([track.adsbHex, track.adsbInitialized, track.length]).toEqual(["aaa", false, 2]);
    expect(begin("bbb").adsbInitialized).toBe(true);
  });

  test("changes its address only after three consecutive detections with another one, and records an identity swap", () => {
    const track = begin("aaa");
    for (const hex of ["bbb", "bbb", "aaa", "bbb", "bbb", "ccc", "aaa"]) track.record(seen(hex));
    expect(track.adsbHex).toBe("aaa");
    for (const hex of ["bbb", null, "bbb", "bbb"]) track.record(seen(hex));
    expect(track.adsbHex).toBe("bbb");
    expect(track.anomalies.types).toEqual(["identity_swap"]);
  });

  test("has a strength from its third detection on, which follows later ones", () => {
    const track = begin(null);
    const withSnr = (snrDb: number) => ({ ...seen(null), snrDb });
    track.record(withSnr(20));
    expect(track.snrDb).toBeUndefined();
    track.record(withSnr(30));
    expect(track.snrDb).toBeCloseTo(20, 9);
    for (let index = 0; index < 60; index++) track.record(withSnr(5));
    expect(track.snrDb).toBeWithin(4.9, 5.2);
  });
});
