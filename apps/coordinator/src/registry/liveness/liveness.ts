/**
 * Where a node stands, from when this process last heard it, and what of that is to be published. Pure: the registry asks,
 * the time is the caller's. (R5)
 *
 *   UNKNOWN (not heard since the start) → LIVE (heard) → STALE → DEAD (silence);   UNKNOWN → STALE → DEAD (silence)
 *   STALE, DEAD → LIVE (heard);   any → SHUTDOWN (goodbye) → LIVE (register);   any → UNKNOWN (restart), but SHUTDOWN
 */
import type { NodeState } from "@fleet/protocol";

/** How long silence lasts before each state, ms. */
export interface LivenessWindows {
  /** Silence after which a node is STALE. */
  readonly staleAfterMs: number;
  /** Further silence after which it is DEAD. */
  readonly deadAfterMs: number;
}

/** What the verdict rests on. Times are ms of the coordinator's uptime. */
export interface Heard {
  /** When this process last heard the node; undefined when it has not. */
  readonly heardAtMs: number | undefined;
  /** The node said goodbye and has not registered since. */
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

/**
 * The state to publish after `published`, undefined when there is no news. A restart makes every node UNKNOWN for a while,
 * and one that was DEAD before it STALE on its way there: that is no news.
 */
export function newsOf(
  state: NodeState,
  published: NodeState,
  isHeardSinceStart: boolean,
): NodeState | undefined {
  if (state === published || state === "UNKNOWN") return undefined;
  if (!isHeardSinceStart && state === "STALE" && published === "DEAD") return undefined;
  return state;
}

/** When the state of a node that is silent since `sinceMs` changes next, or `agedMs` if that is sooner; both if past: never. */
export function dueMs(
  sinceMs: number,
  agedMs: number,
  nowMs: number,
  { staleAfterMs, deadAfterMs }: LivenessWindows,
): number {
  const dues = [sinceMs + staleAfterMs, sinceMs + staleAfterMs + deadAfterMs, agedMs];
  return Math.min(...dues.filter((ms) => ms > nowMs));
}
