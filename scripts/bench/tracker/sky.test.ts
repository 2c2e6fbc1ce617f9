import { describe, expect, test } from "bun:test";
import { generatedSets } from "./generated-sets.ts";
import { makeSky } from "./sky.ts";

const LIGHT_KM_S = 299_792.458;
const sets = generatedSets(1, 7);

function specOf(kind: string) {
  return sets.find((set) => set.kind === kind)!.specs[0]!;
}

describe("a generated sky", () => {
  test("depends on the seed", () => {
    const spec = specOf("everything");
    expect(makeSky(spec)).toEqual(makeSky(spec));
    expect(makeSky(spec).frames).not.toEqual(makeSky({ ...spec, seed: spec.seed + 1 }).frames);
  });

  test.each(["plain", "hard turns", "fc 1.2 GHz"])(
    "has a Doppler that matches the delay rate: %s",
    (kind) => {
      const spec = specOf(kind);
      for (const { samples } of makeSky(spec).targets) {
        for (const [index, [ms, delay]] of samples.entries()) {
          const [before, after] = [samples[index - 1], samples[index + 1]];
          if (before === undefined || after === undefined) continue;
          const middle = (-LIGHT_KM_S / spec.fcHz) * samples[index]![2];
          const rate = (after[1] - before[1]) / ((after[0] - before[0]) / 1000);
          // A turn of 3 g begins between two samples.
          expect(Math.abs(rate - middle)).toBeLessThan(0.04);
          expect([ms > before[0], delay >= 0]).toEqual([true, true]);
        }
      }
    },
  );

  test("has the clutter, misses and gaps of its spec", () => {
    const spec = { ...specOf("gaps"), detectionProbability: 0.7, falseAlarmsPerFrame: 8 };
    const { frames, targets } = makeSky(spec);
    const detections = frames.reduce((sum, frame) => sum + frame.delay.length, 0);
    const visible = targets.reduce((sum, { samples }) => sum + samples.length, 0);
    expect(detections / (0.7 * visible + 8 * frames.length)).toBeWithin(0.97, 1.03);
    const longest = Math.max(
      ...frames.slice(1).map(({ timestamp }, index) => timestamp - frames[index]!.timestamp),
    );
    expect(longest).toBeWithin(3500, 12_501);
  });

  test("makes crossing aircraft meet in delay and Doppler", () => {
    const { targets } = makeSky(specOf("crossing"));
    const meetings = targets.flatMap((one, index) =>
      targets
        .slice(index + 1)
        .filter((other) =>
          one.samples.some(([ms, delay, doppler]) =>
            other.samples.some(
              ([at, km, hz]) =>
                at === ms && Math.abs(km - delay) < 0.3 && Math.abs(hz - doppler) < 3,
            ),
          ),
        ),
    );
    expect(meetings.length).toBeGreaterThan(targets.length / 4);
  });
});
