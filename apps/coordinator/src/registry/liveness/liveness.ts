/**
 * A node's state, computed from when this process last heard it, and whether that state is published. Pure: the caller passes the
 * time. (R5)
 *
 *   UNKNOWN (not heard since the start) → LIVE (heard) → STALE → DEAD (silence);   UNKNOWN → STALE → DEAD (silence)
 *   STALE, DEAD → LIVE (heard);   any → SHUTDOWN (goodbye) → LIVE (register);   any but SHUTDOWN → UNKNOWN (restart)
 */
import type { NodeState } from "@fleet/protocol";

/** How long silence lasts before each state, in ms. */
export interface LivenessWindows {
  /** Silence after which a node is STALE. */
  readonly staleAfterMs: number;
  /** Further silence after which it is DEAD. */
  readonly deadAfterMs: number;
}

/** What a node's state depends on. Times are ms of the coordinator's uptime. */
export interface Heard {
  /** When this process last heard the node; undefined when it has not. */
  readonly heardAtMs: number | undefined;
  /** Whether the node said goodbye and has not registered since. */
  readonly isShutdown: boolean;
}

/**
 * LIVE → STALE after `staleAfterMs` of silence → DEAD after `deadAfterMs` more; SHUTDOWN after a goodbye. A node that
 * this process has not heard is UNKNOWN; its silence counts from `startedAtMs`, so after a restart no node is DEAD early.
 */
export function nodeStateAt(
  heard: Heard,
  nowMs: number,
  startedAtMs: number,
  windows: LivenessWindows,
): NodeState {
  if (heard.isShutdown) return "SHUTDOWN";
  const silentMs = nowMs - (heard.heardAtMs ?? startedAtMs);
  if (silentMs >= windows.staleAfterMs + windows.deadAfterMs) return "DEAD";
  if (silentMs >= windows.staleAfterMs) return "STALE";
  return heard.heardAtMs === undefined ? "UNKNOWN" : "LIVE";
}

/**
 * The state to publish after `published`, or undefined. After a restart every node is UNKNOWN for a while, and one that was DEAD before
 * becomes STALE on the way to DEAD; neither is published.
 */
export function stateToPublish(
  state: NodeState,
  published: NodeState,
  isHeardSinceStart: boolean,
): NodeState | undefined {
  if (state === published || state === "UNKNOWN") return undefined;
  if (!isHeardSinceStart && state === "STALE" && published === "DEAD") return undefined;
  return state;
}

/** The next time at which the state of a node silent since `sinceMs` changes, or `agedMs` if that is earlier; Infinity if all are past. */
export function dueMs(
  sinceMs: number,
  agedMs: number,
  nowMs: number,
  { staleAfterMs, deadAfterMs }: LivenessWindows,
): number {
  const dues = [sinceMs + staleAfterMs, sinceMs + staleAfterMs + deadAfterMs, agedMs];
  return Math.min(...dues.filter((ms) => ms > nowMs));
}
