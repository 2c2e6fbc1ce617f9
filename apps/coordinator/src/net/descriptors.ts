/** How many files and sockets this process may have open. */
import { readFileSync } from "node:fs";

/** Kept free for trackers, files and HTTP: this part of all, within these bounds. */
const RESERVE_PART = 1 / 8;
const RESERVE_MIN = 32;
const RESERVE_MAX = 1024;

/**
 * The highest descriptor a frame connection may have. At the limit itself accept(2) fails, and what listens would be told
 * of the waiting connection again and again, which takes a whole core; so connections are turned away before.
 */
export function frameDescriptorMax(limits = readLimits()): number {
  const limit = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  const reserve = Math.min(RESERVE_MAX, Math.max(RESERVE_MIN, Math.floor(limit * RESERVE_PART)));
  return limit - reserve - 1;
}

/** Empty where there is no /proc: then nothing is known, and nobody is turned away for it. */
function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
