/** The configuration of a supervised child (child.ts) and the callbacks through which its owner follows it. */
import type { Clock, Log, Random } from "@fleet/daemon";

import type { ChildPolicy, ChildState } from "./child-state.ts";
import type { ProcessExit, Spawn, SpawnError, SpawnRequest } from "./spawn.ts";

/** A finished run. `ranMs` is the time from the spawn to the exit of the process. */
export interface RunEnd extends ProcessExit {
  readonly run: number;
  readonly pid: number;
  readonly ranMs: number;
}

/** What to run, the restart policy, and callbacks. Callbacks must not throw; an exception is logged and otherwise ignored. */
export interface ChildSpec extends SpawnRequest, ChildPolicy {
  /** Time between TERM and KILL, ms. */
  readonly stopGraceMs: number;
  /** With `ready: "manual"`: a run that has not called `markReady()` after this time is stopped as a failure. Default: no limit. */
  readonly startTimeoutMs?: number;
  /** Number of runs made by earlier supervisors; `run` continues from it. Default 0. */
  readonly runsBefore?: number;
  /** Receives a chunk of stdout, which it may keep. Nothing more is read until a returned promise settles, so the child may block. */
  readonly onStdout?: (chunk: Uint8Array, run: number) => void | Promise<void>;
  /** Receives a chunk of stderr, which it may keep. Reading never pauses. */
  readonly onStderr?: (chunk: Uint8Array, run: number) => void;
  /** Called when a spawn fails, after the resulting change of state. Without this callback the failure is logged. */
  readonly onSpawnFailed?: (error: SpawnError, run: number) => void;
  /** Called after every change of state. */
  readonly onState?: (next: ChildState, previous: ChildState) => void;
  /** Called once for each run, before the resulting change of state. */
  readonly onExit?: (end: RunEnd) => void;
}

/** Constructor options of Child. `spawn` defaults to `systemSpawn`. */
export interface ChildOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly spawn?: Spawn;
  readonly spec: ChildSpec;
}
