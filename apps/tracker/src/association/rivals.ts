/**
 * Two tracks on one target: they agree on where it is and how it moves, and one of them gets all detections, for there
 * is only one to have. After some frames of that the younger is merged into the older. Tracks that cross agree for a
 * moment only, and then both are detected. (Track-to-track association: Y. Bar-Shalom and X. R. Li,
 * Multitarget-Multisensor Tracking, 1995, ch. 8.) Called by `tracker.ts` once a frame.
 */
import type { Innovation } from "../estimation/kalman.ts";
import type { Track } from "../tracks/track.ts";

/** Greatest squared Mahalanobis distance of tracks that agree (χ², 3 degrees of freedom: 50 %). */
const AGREEMENT = 2.4;
/** Agreement says something only while both are known closely: so many times likelier for one target than by chance. */
const AGREEMENT_RATIO_MIN = 10000;
/** So many frames in a row in which one of the two had the detection. */
const FRAMES_MIN = 8;

/** A pair that turned out to be one. */
export interface Merger {
  readonly kept: Track;
  readonly dropped: Track;
}

/**
 * Looks at the confirmed and coasting `tracks` after the frame at `timestampMs`; updates their suspicions and gives
 * those that are beyond doubt, each track at most once. `density` is how many targets are to be expected by chance, per
 * km, Hz and Hz/s.
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
      track.lastMs === timestampMs ? undefined : twinOf(track, tracks, timestampMs, density);
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

/** The nearest track that agrees with this one and was detected just now. */
function twinOf(
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

/** Whether ADS-B says that these are two aircraft. */
function areDifferent(one: Track, other: Track): boolean {
  return one.adsbHex !== null && other.adsbHex !== null && one.adsbHex !== other.adsbHex;
}
