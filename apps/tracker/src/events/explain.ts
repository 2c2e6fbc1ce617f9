/** What `--explain` says of a track's birth, its return, its merging and its end: one line each. Called by `tracker.ts`. */
import type { LifeRules, Track } from "../tracks/track.ts";

const PERCENT = 100;

function percent(probability: number): string {
  // Never 100 %: nothing is that sure.
  return `${Math.min(99.9, PERCENT * probability).toFixed(1)} %`;
}

function place({ filter: { estimate }, lastMs }: Track): string {
  return `${estimate.delayKm.toFixed(2)} km, ${estimate.dopplerHz.toFixed(1)} Hz at ${lastMs}`;
}

export function bornLine(id: string, track: Track, frames: number): string {
  const label = track.adsbHex === null ? "" : `, ADS-B ${track.adsbHex}`;
  return (
    `${id} born: ${track.length} detections in ${frames} frames since ${track.firstMs}, ` +
    `a target with ${percent(track.existence.probability)}; ${place(track)}${label}`
  );
}

/** `old` was not detected for a while; `track` is what came back. */
export function resumedLine(id: string, old: Track, track: Track): string {
  return (
    `${id} resumed: ${track.length} detections since ${track.firstMs} continue it ` +
    `after ${track.firstMs - old.lastMs} ms without; ${place(track)}`
  );
}

export function mergedLine(dropped: string, kept: string): string {
  return `${dropped} merged into ${kept}: they agree, and only one of them was detected at a time`;
}

/** `missed` frames in a row have ended it. */
export function droppedLine(id: string, track: Track, missed: number, rules: LifeRules): string {
  const why =
    missed >= rules.missedMax
      ? `${missed} frames missed in a row`
      : `a target with ${percent(track.existence.probability)} after ${missed} frames missed in a row`;
  return `${id} dropped: ${why}; last seen at ${track.lastMs}, ${track.length} detections`;
}

export function silenceLine(id: string, silentMs: number): string {
  return `${id} dropped: no frame for ${silentMs} ms`;
}
