import { describe, expect, test } from "bun:test";
import { Timeline } from "./timeline.ts";

/** The steps for consecutive timestamps. */
function steps(...timestampsMs: number[]) {
  const timeline = new Timeline();
  return timestampsMs.map((timestampMs) => timeline.advance(timestampMs));
}

describe("Timeline", () => {
  test("returns the time between irregular frames", () => {
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

  test("continues with the previous frame interval when the clock is set back", () => {
    expect(steps(10_000, 10_400, 8399, 8799).slice(2)).toEqual([
      { is: "set_back", elapsedMs: 400 },
      { is: "step", elapsedMs: 400 },
    ]);
  });

  test("reports more than 30 s as a silence", () => {
    expect(steps(0, 500, 30_501, 31_001).slice(2)).toEqual([
      { is: "silence", elapsedMs: 30_001 },
      { is: "step", elapsedMs: 500 },
    ]);
  });
});
