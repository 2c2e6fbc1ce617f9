/**
 * Bounds what an agent's counters leave behind: each sensor and each drop reason becomes a time series of the metrics, so only
 * the node's registered sensors count, and reasons that Fleet's agents do not use are added up as `other`. (A16, H12)
 */
import type { FrameProblem, SensorCounters } from "@fleet/protocol";
import type { Counters, NodeRow } from "./node.ts";

const NOT_FRAMES: Readonly<Record<FrameProblem, true>> = {
  bad_utf8: true,
  bad_json: true,
  not_an_object: true,
  bad_timestamp: true,
  bad_arrays: true,
  ragged_arrays: true,
  too_many_detections: true,
  bad_adsb: true,
  bad_number: true,
  too_deep: true,
  too_long: true,
};
const REASONS: ReadonlySet<string> = new Set([
  ...Object.keys(NOT_FRAMES),
  "spool_full",
  "too_old",
  "damaged",
  "rejected:bad_frame",
  "rejected:other",
]);
const OTHER = "other";

/** The counters of the registered sensors. The sum over all reasons stays as it was reported. */
export function acceptCounters(
  reported: Readonly<Record<string, SensorCounters>>,
  sensors: NodeRow["sensors"],
): Counters {
  const accepted: Counters = {};
  for (const { name } of sensors) {
    const counters = Object.hasOwn(reported, name) ? reported[name] : undefined;
    if (counters !== undefined) accepted[name] = { ...counters, dropped: fold(counters.dropped) };
  }
  return accepted;
}

function fold(dropped: SensorCounters["dropped"]): SensorCounters["dropped"] {
  const folded: Record<string, number> = {};
  for (const [reason, frames] of Object.entries(dropped)) {
    const known = REASONS.has(reason) ? reason : OTHER;
    folded[known] = (folded[known] ?? 0) + frames;
  }
  return folded;
}
