import { describe, expect, test } from "bun:test";
import { DelayDopplerFilter } from "./kalman.ts";
import { afterHit, afterMiss, type LifeRules, Track, type TrackState } from "./track.ts";

const RULES: LifeRules = { hitsMin: 3, window: 5, missedMax: 3 };

/** The state after a frame per letter: h hit, m miss. */
function live(
  frames: string,
  from: TrackState = { at: "tentative", hits: 1, frames: 1 },
): TrackState {
  let state = from;
  for (const frame of frames) {
    state = frame === "h" ? afterHit(state, RULES, () => "id") : afterMiss(state, RULES);
  }
  return state;
}

describe("a track's life", () => {
  test("is confirmed by M detections within its first N frames", () => {
    for (const frames of ["hh", "mhh", "mmhh", "hmmh"]) {
      expect(live(frames)).toEqual({ at: "confirmed", id: "id" });
    }
  });

  test("ends as soon as M of N is out of reach", () => {
    expect(live("mm").at).toBe("tentative");
    for (const frames of ["mmm", "hmmm", "mhmm"]) expect(live(frames)).toEqual({ at: "deleted" });
  });

  test("coasts when missed, and recovers under the same id", () => {
    expect(live("hhmm")).toEqual({ at: "coasting", id: "id", missed: 2 });
    expect(live("hhmmh")).toEqual({ at: "confirmed", id: "id" });
  });

  test("ends at the third miss in a row, not at the third miss", () => {
    expect(live("hhmmm")).toEqual({ at: "deleted" });
    expect(live("hhmmhmmhmm").at).toBe("coasting");
  });

  test("stays deleted", () => {
    expect(live("hhmmmhm")).toEqual({ at: "deleted" });
  });
});

describe("Track", () => {
  const begin = (hex: string | null): Track =>
    new Track(new DelayDopplerFilter(1, 1, { delay: 1, doppler: 1 }, 1), seen(hex), 20);
  const seen = (hex: string | null) => ({
    timestampMs: 0,
    delayKm: 1,
    dopplerHz: 1,
    snrDb: 10,
    adsb: hex === null ? null : { hex },
  });

  test("takes the first address it is given, and remembers whether it began with one", () => {
    const track = begin(null);
    expect([track.adsbHex, track.adsbInitialized]).toEqual([null, false]);
    track.record(seen("aaa"));
    expect([track.adsbHex, track.adsbInitialized, track.length]).toEqual(["aaa", false, 2]);
    expect(begin("bbb").adsbInitialized).toBe(true);
  });

  test("changes its address only when another comes three times in a row, and calls that a swap", () => {
    const track = begin("aaa");
    for (const hex of ["bbb", "bbb", "aaa", "bbb", "bbb", "ccc", "aaa"]) track.record(seen(hex));
    expect(track.adsbHex).toBe("aaa");
    for (const hex of ["bbb", null, "bbb", "bbb"]) track.record(seen(hex));
    expect(track.adsbHex).toBe("bbb");
    expect(track.anomalies.types).toEqual(["identity_swap"]);
  });
});
