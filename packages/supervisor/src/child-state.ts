/**
 * The states of one supervised child and the only function that moves between them. Pure: no clock, no process, no chance.
 * `Child` (child.ts) feeds it events and acts on the state that comes back.
 *
 *   stopped  → starting | running (spawned) | backoff, stopped (spawn failed) | backoff (restart)
 *   starting → running (ready) | stopping (stop, restart, failed) | backoff, stopped (exit)
 *   running  → stopping (stop, restart, failed) | backoff, stopped (exit)
 *   backoff  → starting | running (spawned) | backoff, stopped (spawn failed) | backoff (restart) | stopped (stop)
 *   stopping → stopped | backoff (exit)
 *
 * An event that means nothing in a state leaves it as it is (the very same object).
 */
import { backoffMs, type BackoffOptions } from "@fleet/daemon";

/** What becomes of a child that is being ended, once it is gone. A stop outranks a restart. */
export type AfterStopping = "stopped" | "restart" | "failure";

/**
 * Where a child is. All times are monotonic ms. `failures` counts runs in a row that ended before they were stable.
 * `starting` waits for `markReady()`; with `ready: "spawn"` it is skipped. `backoff` with `failures: 0` is a restart that
 * was asked for: its `retryAtMs` is now.
 */
export type ChildState =
  | { readonly at: "stopped" }
  | {
      readonly at: "starting" | "running";
      readonly pid: number;
      readonly sinceMs: number;
      readonly failures: number;
    }
  | { readonly at: "backoff"; readonly failures: number; readonly retryAtMs: number }
  | {
      readonly at: "stopping";
      readonly pid: number;
      readonly killAtMs: number;
      readonly failures: number;
      readonly then: AfterStopping;
    };

/**
 * What happens to a child. `atMs` is when (monotonic), `killAtMs` when TERM turns into KILL, `chance` a uniform number in
 * [0, 1) for the jitter of the delay that may follow, `clean` an exit with code 0.
 */
export type ChildEvent =
  | { readonly type: "spawned"; readonly pid: number; readonly atMs: number }
  | { readonly type: "spawn_failed"; readonly atMs: number; readonly chance: number }
  | { readonly type: "ready"; readonly atMs: number }
  | { readonly type: "failed"; readonly atMs: number; readonly killAtMs: number }
  | {
      readonly type: "exited";
      readonly atMs: number;
      readonly clean: boolean;
      readonly chance: number;
    }
  | { readonly type: "restart_asked"; readonly atMs: number; readonly killAtMs: number }
  | { readonly type: "stop_asked"; readonly killAtMs: number };

/** The rules a child lives by. */
export interface ChildPolicy {
  /** Whether an exit that nobody asked for is followed by another run. A failure is anything but exit code 0 of a ready child. */
  readonly restart: "always" | "on-failure" | "never";
  readonly backoff: BackoffOptions;
  /** A run that was `running` this long before it ended clears the failures counted before it. */
  readonly stableAfterMs: number;
  /** Whether a child counts as running once it is spawned, or only after `markReady()`. */
  readonly ready: "spawn" | "manual";
}

/** The state after `event`; `state` itself when the event means nothing there. */
export function nextState(state: ChildState, event: ChildEvent, policy: ChildPolicy): ChildState {
  switch (event.type) {
    case "spawned":
      return onSpawned(state, event.pid, event.atMs, policy);
    case "spawn_failed":
      if (state.at === "stopped") return afterFailure(0, event, policy);
      return state.at === "backoff" ? afterFailure(state.failures, event, policy) : state;
    case "ready":
      return state.at === "starting" ? { ...state, at: "running", sinceMs: event.atMs } : state;
    case "failed":
      if (state.at !== "starting" && state.at !== "running") return state;
      return {
        ...ending(state, event.killAtMs, "failure"),
        failures: failuresBefore(state, event.atMs, policy),
      };
    case "exited":
      return onExited(state, event, policy);
    case "restart_asked":
      return onRestartAsked(state, event.atMs, event.killAtMs);
    case "stop_asked":
      return onStopAsked(state, event.killAtMs);
  }
}

type Live = Extract<ChildState, { at: "starting" | "running" }>;
type Ended = Extract<ChildEvent, { type: "exited" }>;

function onSpawned(state: ChildState, pid: number, atMs: number, policy: ChildPolicy): ChildState {
  if (state.at !== "stopped" && state.at !== "backoff") return state;
  const failures = state.at === "backoff" ? state.failures : 0;
  return { at: policy.ready === "spawn" ? "running" : "starting", pid, sinceMs: atMs, failures };
}

function onExited(state: ChildState, event: Ended, policy: ChildPolicy): ChildState {
  switch (state.at) {
    case "stopped":
    case "backoff":
      return state;
    case "starting":
      return afterFailure(state.failures, event, policy);
    case "running": {
      if (policy.restart === "on-failure" && event.clean) return { at: "stopped" };
      return afterFailure(failuresBefore(state, event.atMs, policy), event, policy);
    }
    case "stopping":
      return onEnded(state.then, state.failures, event, policy);
  }
}

/** Failures in a row before this run, which ends at `atMs`: none when it was stable. */
function failuresBefore(state: Live, atMs: number, policy: ChildPolicy): number {
  const stable = state.at === "running" && atMs - state.sinceMs >= policy.stableAfterMs;
  return stable ? 0 : state.failures;
}

function onEnded(
  then: AfterStopping,
  failures: number,
  event: Ended,
  policy: ChildPolicy,
): ChildState {
  switch (then) {
    case "stopped":
      return { at: "stopped" };
    case "restart":
      return { at: "backoff", failures: 0, retryAtMs: event.atMs };
    case "failure":
      return afterFailure(failures, event, policy);
  }
}

function onRestartAsked(state: ChildState, atMs: number, killAtMs: number): ChildState {
  switch (state.at) {
    case "starting":
    case "running":
      return ending(state, killAtMs, "restart");
    case "stopped":
    case "backoff":
      return { at: "backoff", failures: 0, retryAtMs: atMs };
    case "stopping":
      return state.then === "failure" ? { ...state, then: "restart" } : state;
  }
}

function onStopAsked(state: ChildState, killAtMs: number): ChildState {
  switch (state.at) {
    case "starting":
    case "running":
      return ending(state, killAtMs, "stopped");
    case "stopped":
      return state;
    case "backoff":
      return { at: "stopped" };
    case "stopping":
      if (state.then === "stopped" && state.killAtMs <= killAtMs) return state;
      return { ...state, then: "stopped", killAtMs: Math.min(state.killAtMs, killAtMs) };
  }
}

function ending(
  state: Live,
  killAtMs: number,
  then: AfterStopping,
): Extract<ChildState, { at: "stopping" }> {
  return { at: "stopping", pid: state.pid, killAtMs, failures: state.failures, then };
}

function afterFailure(
  failuresSoFar: number,
  event: { readonly atMs: number; readonly chance: number },
  policy: ChildPolicy,
): ChildState {
  if (policy.restart === "never") return { at: "stopped" };
  const failures = failuresSoFar + 1;
  const delayMs = backoffMs(policy.backoff, failures, { next: () => event.chance });
  return { at: "backoff", failures, retryAtMs: event.atMs + delayMs };
}
