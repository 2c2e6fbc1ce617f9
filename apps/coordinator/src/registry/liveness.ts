/** Where a node stands, from when this process last heard it. Pure: the registry asks, the clock is the caller's. (R5) */
import type { NodeState } from "@fleet/protocol";

/** How long silence lasts before each state, ms. */
export interface LivenessWindows {
  /** Silence after which a node is STALE. */
  readonly staleAfterMs: number;
  /** Further silence after which it is DEAD. */
  readonly deadAfterMs: number;
}

/** What the verdict rests on. Times are monotonic ms of this process. */
export interface Heard {
  /** When this process last heard the node; undefined when it has not. */
  readonly heardAtMs: number | undefined;
  /** The node said goodbye and has not been heard since. */
  readonly shutdown: boolean;
}

/**
 * LIVE → STALE after `staleAfterMs` of silence → DEAD after `deadAfterMs` more; SHUTDOWN after a goodbye. A node that
 * this process has not heard is UNKNOWN; its silence counts from `startedAtMs`, so a restart never kills anybody early.
 */
export function nodeStateAt(
  heard: Heard,
  nowMs: number,
  startedAtMs: number,
  windows: LivenessWindows,
): NodeState {
  if (heard.shutdown) return "SHUTDOWN";
  const silentMs = nowMs - (heard.heardAtMs ?? startedAtMs);
  if (silentMs >= windows.staleAfterMs + windows.deadAfterMs) return "DEAD";
  if (silentMs >= windows.staleAfterMs) return "STALE";
  return heard.heardAtMs === undefined ? "UNKNOWN" : "LIVE";
}
