/**
 * Keeps the quality of fleet-tracker from getting worse. Everything is seeded, so the figures are the same each time. The
 * bounds leave room for a processor whose exponential function differs in the last digit, not for a worse tracker. (T10)
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { root } from "../../lib/root.ts";
import { recordedSets } from "./recorded-sets.ts";
import { track } from "./run.ts";
import { addScores, type Score, scoreEvents } from "./score.ts";
import { generatedSets } from "./generated-sets.ts";
import { makeSky } from "./sky.ts";

const COMMAND = [process.execPath, join(root, "apps/tracker/src/main.ts")];
const SEED = 1;
const TIMEOUT_MS = 60_000;

/** The most false tracks, switches and tracks per target of a kind, over two skies. */
const BOUNDS: Readonly<Record<string, readonly [number, number, number]>> = {
  plain: [0, 0, 1],
  "detected 60 %": [1, 3, 1.05],
  "80 %, 20 alarms": [2, 2, 1.03],
  "ground echoes": [3, 1, 1.03],
  crossing: [0, 6, 1.15],
  "hard turns": [1, 3, 1.06],
  fades: [0, 1, 1.03],
  gaps: [1, 2, 1.04],
  "noise × 3": [1, 2, 1.04],
  everything: [2, 22, 1.4],
};

async function scoreKind(kind: string): Promise<Score> {
  const specs = generatedSets(2, SEED).find((set) => set.kind === kind)?.specs ?? [];
  const scores: Score[] = [];
  for (const spec of specs) {
    const { frames, targets } = makeSky(spec);
    const lines = frames.map((frame) => `${JSON.stringify(frame)}\n`).join("");
    const { events } = await track(COMMAND, Buffer.from(lines));
    scores.push(scoreEvents(frames, targets, events));
  }
  return addScores(scores);
}

describe("fleet-tracker covers every target, alters no detection (T10) and", () => {
  for (const [kind, [falseTracks, idSwitches, tracksPerTarget]] of Object.entries(BOUNDS)) {
    test(
      `on "${kind}" has at most ${falseTracks} false tracks, ${idSwitches} switches and ${tracksPerTarget} tracks per target`,
      async () => {
        const score = await scoreKind(kind);
        expect(score.covered).toBe(score.targets);
        expect(score.targets).toBeGreaterThan(20);
        expect(score.altered).toBe(0);
        expect(score.falseTracks).toBeLessThanOrEqual(falseTracks);
        expect(score.idSwitches).toBeLessThanOrEqual(idSwitches);
        expect(score.tracksPerTarget).toBeLessThanOrEqual(tracksPerTarget);
      },
      TIMEOUT_MS,
    );
  }

  const sets = recordedSets(join(root, "..", "shared", "data"));
  test.skipIf(sets.length === 0)(
    "on the recorded sets has hardly any false tracks, switches or second tracks",
    async () => {
      const scores: Score[] = [];
      for (const { input, frames, targets } of sets) {
        scores.push(scoreEvents(frames, targets, (await track(COMMAND, input)).events));
      }
      const score = addScores(scores);
      expect([score.covered, score.altered]).toEqual([score.targets, 0]);
      expect(score.falseTracks).toBeLessThanOrEqual(2);
      expect(score.idSwitches).toBeLessThanOrEqual(2);
      expect(score.tracksPerTarget).toBeLessThanOrEqual(1.02);
      expect(score.confirmS).toBeLessThanOrEqual(1.5);
      expect(score.timeCoverage).toBeGreaterThanOrEqual(0.998);
    },
    TIMEOUT_MS,
  );
});
