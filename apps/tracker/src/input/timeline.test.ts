import { describe, expect, test } from "bun:test";
import { Timeline } from "./timeline.ts";

/** What each of the timestamps means, after one another. */
function steps(...timestampsMs: number[]) {
  const timeline = new Timeline();
  return timestampsMs.map((timestampMs) => timeline.advance(timestampMs));
}

describe("Timeline", () => {
  test("gives the time between frames, however irregular", () => {
    expect(steps(1000, 1500, 1600.5, 31_600.5)).toEqual([
      { is: "step", elapsedMs: 0 },
      { is: "step", elapsedMs: 500 },
      { is: "step", elapsedMs: 100.5 },
      { is: "step", elapsedMs: 30_000 },
    ]);
  });

  test("skips repeated and late frames", () => {
    expect(steps(0, 0, 5000, 5000, 3000, 4999, 5500)).toEqual([
      { is: "step", elapsedMs: 0 },
      { is: "duplicate" },
      { is: "step", elapsedMs: 5000 },
      { is: "duplicate" },
      { is: "late" },
      { is: "late" },
      { is: "step", elapsedMs: 500 },
    ]);
  });

  test("goes on at the frames' own pace when the clock is set back", () => {
    expect(steps(10_000, 10_400, 8399, 8799).slice(2)).toEqual([
      { is: "set_back", elapsedMs: 400 },
      { is: "step", elapsedMs: 400 },
    ]);
  });

  test("calls more than half a minute a silence", () => {
    expect(steps(0, 500, 30_501, 31_001).slice(2)).toEqual([
      { is: "silence", elapsedMs: 30_001 },
      { is: "step", elapsedMs: 500 },
    ]);
  });
});
