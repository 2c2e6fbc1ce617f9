/**
 * Finds pairs of tracks that follow the same target: they agree in position and motion, and only one of them is detected in
 * each frame. After several such frames the younger is merged into the older. Crossing tracks agree only for a moment, and both
 * are detected. (Track-to-track association: Y. Bar-Shalom and X. R. Li, Multitarget-Multisensor Tracking, 1995, ch. 8.) Called
 * by `tracker.ts` once per frame.
 */
import type { Innovation } from "../estimation/kalman.ts";
import type { Track } from "../tracks/track.ts";

/** Largest squared Mahalanobis distance of tracks that agree (χ², 3 degrees of freedom: 50 %). */
const AGREEMENT = 2.4;
/** Minimum likelihood ratio of agreement for the same target over chance. It is reached only while both estimates are precise. */
const AGREEMENT_RATIO_MIN = 10000;
/** Number of consecutive frames in which only one of the two was detected. */
const FRAMES_MIN = 8;

/** Two tracks of the same target. */
export interface Merger {
  readonly kept: Track;
  readonly dropped: Track;
}

/**
 * Updates the rivalries of the confirmed and coasting `tracks` after the frame at `timestampMs`, and returns the pairs to
 * merge, each track at most once. `density` is the density of targets expected by chance, per km, Hz and Hz/s.
 */
export function findMergers(
  tracks: readonly Track[],
  timestampMs: number,
  density: number,
): readonly Merger[] {
  const mergers: Merger[] = [];
  const merged = new Set<Track>();
  for (const track of tracks) {
    const other =
      track.lastMs === timestampMs ? undefined : rivalOf(track, tracks, timestampMs, density);
    if (other === undefined) {
      track.rivalry = undefined;
      continue;
    }
    const before = track.rivalry?.other === other ? track.rivalry.frames : 0;
    track.rivalry = { other, frames: before + 1 };
    if (before + 1 < FRAMES_MIN || merged.has(track) || merged.has(other)) continue;
    const [kept, dropped] = track.firstMs <= other.firstMs ? [track, other] : [other, track];
    mergers.push({ kept, dropped });
    merged.add(track).add(other);
  }
  return mergers;
}

/** The nearest track that agrees with this one and was detected in this frame. */
function rivalOf(
  track: Track,
  tracks: readonly Track[],
  timestampMs: number,
  density: number,
): Track | undefined {
  const separation: Innovation = { distanceSquared: 0, likelihood: 0 };
  let nearest: Track | undefined;
  let least = AGREEMENT;
  for (const other of tracks) {
    if (other.lastMs !== timestampMs || areDifferent(track, other)) continue;
    track.filter.estimate.separation(other.filter.estimate, separation);
    if (separation.likelihood < AGREEMENT_RATIO_MIN * density) continue;
    if (!(separation.distanceSquared < least)) continue;
    nearest = other;
    least = separation.distanceSquared;
  }
  return nearest;
}

/** Whether the tracks have different ADS-B addresses. */
function areDifferent(one: Track, other: Track): boolean {
  return one.adsbHex !== null && other.adsbHex !== null && one.adsbHex !== other.adsbHex;
}
