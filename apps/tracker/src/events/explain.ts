/** The lines of `--explain` about the birth, resumption, merging and end of a track. Called by `tracker.ts`. */
import type { LifeRules, Track } from "../tracks/track.ts";

const PERCENT = 100;

function percent(probability: number): string {
  // Never prints 100 %, because a probability never reaches 1.
  return `${Math.min(99.9, PERCENT * probability).toFixed(1)} %`;
}

function position({ filter: { estimate }, lastMs }: Track): string {
  return `${estimate.delayKm.toFixed(2)} km, ${estimate.dopplerHz.toFixed(1)} Hz at ${lastMs}`;
}

export function bornLine(id: string, track: Track, frames: number): string {
  const label = track.adsbHex === null ? "" : `, ADS-B ${track.adsbHex}`;
  return (
    `${id} born: ${track.length} detections in ${frames} frames since ${track.firstMs}, ` +
    `target probability ${percent(track.existence.probability)}; ${position(track)}${label}`
  );
}

/** `track` resumes `old`. */
export function resumedLine(id: string, old: Track, track: Track): string {
  return (
    `${id} resumed: ${track.length} detections since ${track.firstMs} ` +
    `after a gap of ${track.firstMs - old.lastMs} ms; ${position(track)}`
  );
}

export function mergedLine(dropped: string, kept: string): string {
  return `${dropped} merged into ${kept}: same position and motion, and only one of them detected in each frame`;
}

/** `missed`: number of consecutive frames without a detection. */
export function droppedLine(id: string, track: Track, missed: number, rules: LifeRules): string {
  const misses = `${missed} consecutive frames without a detection`;
  const reason =
    missed >= rules.missedMax
      ? misses
      : `target probability ${percent(track.existence.probability)} after ${misses}`;
  return `${id} dropped: ${reason}; last detected at ${track.lastMs}, ${track.length} detections`;
}

export function silenceLine(id: string, silentMs: number): string {
  return `${id} dropped: no frame for ${silentMs} ms`;
}
