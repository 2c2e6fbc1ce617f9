import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../lib/root.ts";
import { recordedSets, toScore } from "./recorded-sets.ts";
import { type ScoredFrame, scoreEvents, type Target } from "./score.ts";

const DATA = join(root, "..", "shared", "data");

/** A target at 50 km and 100 Hz, and one at 20 km and −50 Hz, both in frames 0 to 19. */
const TARGETS: readonly Target[] = [
  {
    id: "a",
    startMs: 0,
    endMs: 9500,
    samples: [
      [0, 50, 100],
      [9500, 50, 100],
    ],
  },
  {
    id: "b",
    startMs: 0,
    endMs: 9500,
    samples: [
      [0, 20, -50],
      [9500, 20, -50],
    ],
  },
];
const FRAMES: readonly ScoredFrame[] = Array.from({ length: 20 }, (_, index) => ({
  timestamp: index * 500,
  delay: [50, 20, 80],
  doppler: [100, -50, 10],
}));

/** Returns an event with the detections of `target` (0 or 1; 2 is clutter) in frames `from` up to, but not including, `to`. */
function event(id: string, target: number, from: number, to: number): string {
  const detections = FRAMES.slice(from, to).map(({ timestamp, delay, doppler }) => ({
    timestamp,
    delay: delay[target],
    doppler: doppler[target],
  }));
  return `${JSON.stringify({ track_id: id, timestamp: (to - 1) * 500, detections })}\n`;
}

describe("scoreEvents", () => {
  test("finds no fault with one track for each target", () => {
    const score = scoreEvents(FRAMES, TARGETS, event("1", 0, 0, 20) + event("2", 1, 0, 20));
    expect(score).toEqual({
      frames: 20,
      targets: 2,
      covered: 2,
      timeCoverage: 1,
      tracks: 2,
      falseTracks: 0,
      idSwitches: 0,
      tracksPerTarget: 1,
      confirmS: 9.5,
      altered: 0,
      events: 2,
    });
  });

  test("counts false tracks, switches, second tracks, late confirmation and altered detections", () => {
    const altered = event("2", 1, 0, 20).replace('"delay":20', '"delay":20.5');
    const score = scoreEvents(
      FRAMES,
      TARGETS,
      event("1", 0, 0, 3) + event("3", 0, 10, 15) + event("4", 2, 0, 20) + altered,
    );
    expect(score).toMatchObject({
      covered: 2,
      tracks: 4,
      falseTracks: 1,
      idSwitches: 1,
      tracksPerTarget: 1.5,
      altered: 1,
    });
    expect(score.timeCoverage).toBeCloseTo((2 + 4) / 8, 9);
  });

  const sets = recordedSets(DATA);
  test.skipIf(sets.length === 0)("computes the figures of score.py on a recorded set", async () => {
    const { node, frames, targets } = sets.at(-1)!;
    // Events of a poor tracker: derived from the truth, with faults of every kind.
    const events = targets
      .map((target, index) => {
        const own = frames
          .filter(({ timestamp }) => timestamp >= target.startMs && timestamp <= target.endMs)
          .flatMap(({ timestamp, delay, doppler }) => nearestTo(target, timestamp, delay, doppler));
        const half = index % 3 === 0 ? own.length >> 1 : own.length;
        const strays = index % 5 === 0 ? [{ ...own[0]!, delay: 1.234 }] : [];
        return [
          { track_id: `x${index}`, detections: [...own.slice(0, half), ...strays] },
          { track_id: `y${index % 4}`, detections: own.slice(half) },
        ]
          .filter(({ detections }) => detections.length > 0)
          .map((one) => JSON.stringify({ ...one, timestamp: one.detections[2]?.timestamp ?? 0 }))
          .join("\n");
      })
      .join("\n");
    const dir = mkdtempSync(join(tmpdir(), "score-"));
    const path = join(dir, "tracks.jsonl");
    writeFileSync(path, events);
    const child = Bun.spawn(["python3", "score.py", `${node}.jsonl`, "truth.json", path], {
      cwd: DATA,
      stdout: "pipe",
    });
    const theirs = toScore(JSON.parse(await child.stdout.text()) as Record<string, number>);
    rmSync(dir, { recursive: true });
    const ours = scoreEvents(frames, targets, events);
    expect(ours.falseTracks).toBeGreaterThan(0);
    expect(ours.idSwitches).toBeGreaterThan(0);
    expect(ours.altered).toBeGreaterThan(0);
    const { framesPerS: _, timeCoverage, tracksPerTarget, ...exact } = theirs;
    expect(ours).toMatchObject(exact);
    expect(ours.timeCoverage).toBeCloseTo(timeCoverage, 3);
    expect(ours.tracksPerTarget).toBeCloseTo(tracksPerTarget, 2);
  });
});

/** Returns the detection that agrees best with a target, if one does. */
function nearestTo(
  { samples }: Target,
  timestamp: number,
  delay: readonly number[],
  doppler: readonly number[],
) {
  const sample = samples.findLast(([ms]) => ms <= timestamp) ?? samples[0]!;
  const best = delay
    .map((km, index) => ({ timestamp, delay: km, doppler: doppler[index]! }))
    .toSorted((a, b) => far(a, sample) - far(b, sample))[0];
  return best !== undefined && far(best, sample) < 1 ? [best] : [];
}

function far(
  at: { readonly delay: number; readonly doppler: number },
  sample: readonly [number, number, number],
): number {
  return Math.hypot((at.delay - sample[1]) / 2, (at.doppler - sample[2]) / 10);
}
