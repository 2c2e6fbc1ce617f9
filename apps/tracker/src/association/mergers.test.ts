import { describe, expect, test } from "bun:test";
import { findMergers } from "./mergers.ts";
import { Follower, INTERVAL_MS, START_MS } from "../testing.ts";

/** About one new target in two seconds within 100 km, 800 Hz and 10 Hz/s. */
const DENSITY = 1e-7;

/** The mergers of all frames, with the second track missed from frame 40 on. */
function mergersOf(one: Follower, other: Follower, otherSeen = (index: number) => index < 40) {
  const mergers = [];
  for (let index = 2; index < 60; index++) {
    one.frame(index, true);
    other.frame(index, otherSeen(index));
    mergers.push(...findMergers([one.track, other.track], START_MS + index * INTERVAL_MS, DENSITY));
  }
  return mergers;
}

describe("findMergers", () => {
  const flight = { delayKm: 40, dopplerHz: 100 };

  test("merges the younger of two agreeing tracks once only the other is detected", () => {
    const [older, younger] = [new Follower(flight), new Follower(flight, 1)];
    expect(mergersOf(younger, older)[0]).toEqual({ kept: older.track, dropped: younger.track });
  });

  test("does not merge two tracks that are both detected, even if they agree", () => {
    const all = mergersOf(new Follower(flight), new Follower(flight, 1), () => true);
    expect(all).toEqual([]);
    const often = mergersOf(new Follower(flight), new Follower(flight, 1), (i) => i % 4 === 0);
    expect(often).toEqual([]);
  });

  test("does not merge two tracks a kilometre or 20 Hz apart", () => {
    for (const far of [
      { delayKm: 41, dopplerHz: 100 },
      { delayKm: 40, dopplerHz: 120 },
    ]) {
      expect(mergersOf(new Follower(flight), new Follower(far, 1))).toEqual([]);
    }
  });

  test("does not merge two tracks with different addresses", () => {
    expect(mergersOf(new Follower(flight, 0, "aaa"), new Follower(flight, 1, "bbb"))).toEqual([]);
    expect(mergersOf(new Follower(flight, 0, "aaa"), new Follower(flight, 1, "aaa"))).not.toEqual(
      [],
    );
  });
});
