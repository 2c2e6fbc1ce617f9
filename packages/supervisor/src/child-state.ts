/**
 * The states of a supervised child and the only function that makes transitions between them. Pure: time and randomness are
 * part of the events. `Child` (child.ts) passes it events and acts on the returned state.
 *
 *   stopped  → starting | running (spawned) | backoff, stopped (spawn failed) | backoff (restart)
 *   starting → running (ready) | stopping (stop, restart, failed) | backoff, stopped (exit)
 *   running  → stopping (stop, restart, failed) | backoff, stopped (exit)
 *   backoff  → starting | running (spawned) | backoff, stopped (spawn failed) | backoff (restart) | stopped (stop)
 *   stopping → stopped | backoff (exit)
 *
 * An event that does not apply to a state returns that state unchanged (the same object).
 */
import { backoffMs, type BackoffOptions } from "@fleet/daemon";

/** What follows once a stopping child has exited. A stop takes precedence over a restart. */
export type AfterStopping = "stopped" | "restart" | "failure";

/**
 * The state of a child. All times are monotonic ms. `failures` counts consecutive runs that ended before they were stable.
 * `starting` waits for `markReady()`; `ready: "spawn"` skips it. `backoff` with `failures: 0` is a requested restart, which is
 * due immediately.
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
 * An event of a child. `atMs` is its time (monotonic), `killAtMs` the time when KILL follows TERM, `chance` a uniform random
 * number in [0, 1) for the jitter of a backoff, `clean` whether the exit code was 0.
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
  | { readonly type: "restart_requested"; readonly atMs: number; readonly killAtMs: number }
  | { readonly type: "stop_requested"; readonly killAtMs: number };

/** When and how a child is restarted. */
export interface ChildPolicy {
  /** Whether another run follows an unrequested exit. Every exit is a failure except exit code 0 of a ready child. */
  readonly restart: "always" | "on-failure" | "never";
  readonly backoff: BackoffOptions;
  /** A run that was `running` for this long resets the count of failures. */
  readonly stableAfterMs: number;
  /** Whether a child is `running` as soon as it is spawned, or only after `markReady()`. */
  readonly ready: "spawn" | "manual";
}

/** The state after `event`, or `state` itself when the event does not apply. */
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
        ...toStopping(state, event.killAtMs, "failure"),
        failures: failuresBefore(state, event.atMs, policy),
      };
    case "exited":
      return onExited(state, event, policy);
    case "restart_requested":
      return onRestartRequested(state, event.atMs, event.killAtMs);
    case "stop_requested":
      return onStopRequested(state, event.killAtMs);
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
      return afterStopping(state.then, state.failures, event, policy);
  }
}

/** Consecutive failures before a run that ends at `atMs`: 0 if the run was stable. */
function failuresBefore(state: Live, atMs: number, policy: ChildPolicy): number {
  const stable = state.at === "running" && atMs - state.sinceMs >= policy.stableAfterMs;
  return stable ? 0 : state.failures;
}

function afterStopping(
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

function onRestartRequested(state: ChildState, atMs: number, killAtMs: number): ChildState {
  switch (state.at) {
    case "starting":
    case "running":
      return toStopping(state, killAtMs, "restart");
    case "stopped":
    case "backoff":
      return { at: "backoff", failures: 0, retryAtMs: atMs };
    case "stopping":
      return state.then === "failure" ? { ...state, then: "restart" } : state;
  }
}

function onStopRequested(state: ChildState, killAtMs: number): ChildState {
  switch (state.at) {
    case "starting":
    case "running":
      return toStopping(state, killAtMs, "stopped");
    case "stopped":
      return state;
    case "backoff":
      return { at: "stopped" };
    case "stopping":
      if (state.then === "stopped" && state.killAtMs <= killAtMs) return state;
      return { ...state, then: "stopped", killAtMs: Math.min(state.killAtMs, killAtMs) };
  }
}

function toStopping(
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
