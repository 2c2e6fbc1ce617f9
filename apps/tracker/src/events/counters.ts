/** What the tracker counts, for the summary it prints on RESET and at exit. One object, shared by all its parts. */
import { SKIP_REASONS, type SkipReason } from "../input/frame.ts";

export interface Counters {
  /** Frames tracked. */
  frames: number;
  detections: number;
  events: number;
  tracksConfirmed: number;
  /** Tracks that would have been new, but continue one that was not detected for a while. */
  tracksResumed: number;
  /** Tracks that were on the same target as an older one. */
  tracksMerged: number;
  tracksDeleted: number;
  resets: number;
  clients: number;
  /** Frames with the timestamp of the frame before. */
  duplicateFrames: number;
  /** Frames that came after a later one. */
  lateFrames: number;
  /** Times the source's clock was set back, or its stream stopped so long that the tracks were given up. */
  timeJumps: number;
  /** Detections that would have begun a track when there were too many. */
  tracksRefused: number;
  /** Clusters too large for the optimal assignment. */
  greedyClusters: number;
  /** Lines longer than a line may be. */
  oversizedLines: number;
  readonly skipped: Record<SkipReason, number>;
}

export function createCounters(): Counters {
  return {
    frames: 0,
    detections: 0,
    events: 0,
    tracksConfirmed: 0,
    tracksResumed: 0,
    tracksMerged: 0,
    tracksDeleted: 0,
    resets: 0,
    clients: 0,
    duplicateFrames: 0,
    lateFrames: 0,
    timeJumps: 0,
    tracksRefused: 0,
    greedyClusters: 0,
    oversizedLines: 0,
    skipped: Object.fromEntries(SKIP_REASONS.map((reason) => [reason, 0])) as Record<
      SkipReason,
      number
    >,
  };
}

/** One line: `frames=1200 detections=8318 …`, in snake_case; what never happened among the rarer things is left out. */
export function summarize(counters: Counters): string {
  const { skipped, frames, detections, events, tracksConfirmed, ...rare } = counters;
  const always = { frames, detections, events, tracksConfirmed };
  const seldom = Object.entries({
    ...rare,
    ...Object.fromEntries(
      Object.entries(skipped).map(([reason, count]) => [`skipped_${reason}`, count]),
    ),
  }).filter(([, count]) => count > 0);
  return [...Object.entries(always), ...seldom]
    .map(([name, count]) => `${snakeCase(name)}=${count}`)
    .join(" ");
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
