/** The tracker's counters, shared by all its parts and printed as a summary on RESET and at exit. */
import { SKIP_REASONS, type SkipReason } from "../input/frame.ts";

export interface Counters {
  /** Frames tracked. */
  frames: number;
  detections: number;
  events: number;
  tracksConfirmed: number;
  /** Confirmed tracks that continue a coasting one. */
  tracksResumed: number;
  /** Tracks merged into an older one of the same target. */
  tracksMerged: number;
  tracksDeleted: number;
  resets: number;
  clients: number;
  /** Frames with the timestamp of the previous frame. */
  duplicateFrames: number;
  /** Frames older than the previous frame. */
  lateFrames: number;
  /** How often the source's clock was set back, or all tracks were dropped after a silence. */
  timeJumps: number;
  /** Detections that could not start a track because of TRACKS_MAX. */
  tracksRefused: number;
  /** Clusters too large for the optimal assignment. */
  greedyClusters: number;
  /** Lines longer than LINE_BYTES_MAX. */
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

/** One line: `frames=1200 detections=8318 …`, in snake_case. Less important counters are left out when 0. */
export function summarize(counters: Counters): string {
  const { skipped, frames, detections, events, tracksConfirmed, ...others } = counters;
  const main = { frames, detections, events, tracksConfirmed };
  const nonZero = Object.entries({
    ...others,
    ...Object.fromEntries(
      Object.entries(skipped).map(([reason, count]) => [`skipped_${reason}`, count]),
    ),
  }).filter(([, count]) => count > 0);
  return [...Object.entries(main), ...nonZero]
    .map(([name, count]) => `${snakeCase(name)}=${count}`)
    .join(" ");
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
