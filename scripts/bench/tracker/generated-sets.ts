/** The kinds of generated skies. Each differs from the plain one in one respect. Used by the tracker bench and its tests. */
import type { SkySpec } from "./sky.ts";

const PLAIN: SkySpec = {
  seed: 0,
  frames: 600,
  intervalMs: 500,
  isIrregular: false,
  hasGaps: false,
  fcHz: 195e6,
  aircraftAtOnce: 10,
  turns: "gentle",
  isCrossing: false,
  hasFades: false,
  detectionProbability: 0.92,
  falseAlarmsPerFrame: 5,
  groundEchoesPerFrame: 0,
  noiseScale: 1,
};

/** The differences from the plain sky, by the name of the kind. */
const KINDS: Readonly<Record<string, Partial<SkySpec>>> = {
  plain: {},
  "detected 80 %": { detectionProbability: 0.8 },
  "detected 60 %": { detectionProbability: 0.6 },
  "1 false alarm": { falseAlarmsPerFrame: 1 },
  "20 false alarms": { falseAlarmsPerFrame: 20 },
  "500 false alarms": { falseAlarmsPerFrame: 500, frames: 120 },
  "80 %, 20 alarms": { detectionProbability: 0.8, falseAlarmsPerFrame: 20 },
  "ground echoes": { groundEchoesPerFrame: 10 },
  crossing: { isCrossing: true },
  "hard turns": { turns: "hard" },
  fades: { hasFades: true },
  gaps: { hasGaps: true },
  "irregular times": { isIrregular: true },
  "2 s frames": { intervalMs: 2000, frames: 300 },
  "100 ms frames": { intervalMs: 100, frames: 1500, aircraftAtOnce: 6 },
  "noise × 0.5": { noiseScale: 0.5 },
  "noise × 2": { noiseScale: 2 },
  "noise × 3": { noiseScale: 3 },
  "fc 98.7 MHz": { fcHz: 98.7e6 },
  "fc 539 MHz": { fcHz: 539e6 },
  "fc 1.2 GHz": { fcHz: 1.2e9 },
  "30 aircraft": { aircraftAtOnce: 30 },
  everything: {
    detectionProbability: 0.8,
    falseAlarmsPerFrame: 10,
    isCrossing: true,
    turns: "hard",
    hasFades: true,
    hasGaps: true,
    isIrregular: true,
    noiseScale: 1.5,
  },
};

/** Returns every kind with the specs of `seeds` skies, whose seeds count up from `firstSeed`. */
export function generatedSets(
  seeds: number,
  firstSeed: number,
): readonly { readonly kind: string; readonly specs: readonly SkySpec[] }[] {
  return Object.entries(KINDS).map(([kind, differences]) => ({
    kind,
    specs: Array.from({ length: seeds }, (_, index) => ({
      ...PLAIN,
      ...differences,
      seed: firstSeed + index,
    })),
  }));
}
