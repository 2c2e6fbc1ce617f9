import { describe, expect, test } from "bun:test";
import { Follower, INTERVAL_MS, WAVELENGTH_KM } from "../testing.ts";
import { findResumed } from "./resume.ts";

/** About one new target in two seconds within 100 km, 800 Hz and 10 Hz/s. */
const DENSITY = 1e-7;
const FLIGHT = { delayKm: 40, dopplerHz: 100 };

/** A track detected until frame 40 and not in frames 41 to 46. */
function lost(hex?: string): Follower {
  const follower = new Follower(FLIGHT, 0, hex);
  for (let index = 1; index <= 46; index++) follower.frame(index, index <= 40);
  follower.track.state = { at: "coasting", id: "old", missed: 6 };
  return follower;
}

/** A track detected in frames 44 to 46, in the last of them `offKm` and `offHz` away from the path of FLIGHT. */
function found(offKm: number, offHz: number, hex?: string, from = 44): Follower {
  const sinceStartS = (46 * INTERVAL_MS) / 1000;
  const off = {
    delayKm: FLIGHT.delayKm + offKm + WAVELENGTH_KM * offHz * sinceStartS,
    dopplerHz: FLIGHT.dopplerHz + offHz,
  };
  const follower = new Follower(off, from, hex);
  for (let index = from + 1; index <= 46; index++) follower.frame(index, true);
  return follower;
}

describe("findResumed", () => {
  const resumes = (old: Follower, young: Follower, density = DENSITY) =>
    findResumed(young.track, [young.track, old.track], density)?.track === old.track;

  test("finds the coasting track whose target may have turned to this position", () => {
    expect(resumes(lost(), found(0, 0))).toBe(true);
    expect(resumes(lost(), found(0.1, 20))).toBe(true);
    expect(resumes(lost(), found(15, 0))).toBe(false);
    expect(resumes(lost(), found(0, 400))).toBe(false);
  });

  test("prefers a new target where new ones are frequent", () => {
    expect(resumes(lost(), found(0.1, 20), 1)).toBe(false);
  });

  test("does not resume a track that was detected after the new one's first detection", () => {
    expect(resumes(lost(), found(0, 0, undefined, 40))).toBe(false);
  });

  test("uses the addresses if both are known", () => {
    expect(resumes(lost("aaa"), found(0, 0, "bbb"), 1e-3)).toBe(false);
    expect(resumes(lost("aaa"), found(0, 0, "aaa"), 1e-3)).toBe(true);
    expect(resumes(lost(), found(0, 0, "bbb"))).toBe(true);
  });

  test("ignores tracks that are not coasting", () => {
    const old = lost();
    old.track.state = { at: "confirmed", id: "old" };
    expect(resumes(old, found(0, 0))).toBe(false);
  });
});
