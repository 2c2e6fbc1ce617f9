/**
 * Decides whether a newly confirmed track resumes an older one. After a long fade or a hard turn, the detections of a target
 * are too far away for any of them to continue the old track, but three of them together determine its position and motion.
 * (Track segment association: S. Zhang and Y. Bar-Shalom, "Track segment association for GMTI tracks of evasive move-stop-move
 * maneuvering targets", IEEE Trans. Aerosp. Electron. Syst. 47, 2011.) Called by `tracker.ts`.
 */
import { identityRatio } from "./association.ts";
import type { Innovation } from "../estimation/kalman.ts";
import type { Track, TrackState } from "../tracks/track.ts";

/** Largest squared Mahalanobis distance (χ², 3 degrees of freedom: 99.9 %). */
const GATE = 16;

/** A coasting track and its state. */
export interface Coasting {
  readonly track: Track;
  readonly state: Extract<TrackState, { readonly at: "coasting" }>;
}

/**
 * The coasting track that `track` most probably resumes, if that is likelier than a new target. Only tracks that were not
 * detected since the first detection of `track` qualify. `newDensity` is the density of new targets, per km, Hz and Hz/s.
 */
export function findResumed(
  track: Track,
  tracks: readonly Track[],
  newDensity: number,
): Coasting | undefined {
  const separation: Innovation = { distanceSquared: 0, likelihood: 0 };
  let best: Coasting | undefined;
  let bestRatio = 1;
  for (const old of tracks) {
    const { state } = old;
    if (state.at !== "coasting" || old.lastMs >= track.firstMs) continue;
    old.filter.separation(track.filter, separation);
    if (!(separation.distanceSquared <= GATE)) continue;
    const identity = identityRatio(old.adsbHex, track.adsbHex);
    const ratio = (old.existence.probability * separation.likelihood * identity) / newDensity;
    if (!(ratio > bestRatio)) continue;
    best = { track: old, state };
    bestRatio = ratio;
  }
  return best;
}
