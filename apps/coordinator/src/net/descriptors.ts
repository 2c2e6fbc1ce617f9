/** Derives the bound on frame connections from this process's limit of open files. Used by the frame port. */
import { readFileSync } from "node:fs";

/** The share of descriptors reserved for trackers, files and HTTP, within the bounds below. */
const RESERVE_SHARE = 1 / 8;
const RESERVE_MIN = 32;
const RESERVE_MAX = 1024;

/**
 * The highest descriptor that a frame connection may have; Infinity if the limit is unknown. Connections above it are refused,
 * because at the limit itself accept(2) fails while the listener stays readable, which would keep a whole core busy.
 */
export function frameDescriptorMax(limits = readLimits()): number {
  const limit = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  const reserve = Math.min(RESERVE_MAX, Math.max(RESERVE_MIN, Math.floor(limit * RESERVE_SHARE)));
  return limit - reserve - 1;
}

/** Empty without /proc. */
function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
