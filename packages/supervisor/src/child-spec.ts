/** What the owner of a supervised child says about it, and what it is told. Used with Child (child.ts). */
import type { Clock, Log, Random } from "@fleet/daemon";

import type { ChildPolicy, ChildState } from "./child-state.ts";
import type { ProcessExit, Spawn, SpawnError, SpawnRequest } from "./spawn.ts";

/** A run that has ended. `ranMs` counts from the spawn to the exit of the process itself. */
export interface RunEnd extends ProcessExit {
  readonly run: number;
  readonly pid: number;
  readonly ranMs: number;
}

/** What to run, by which rules, and whom to tell. The callbacks must not throw; one that does is logged and goes on being called. */
export interface ChildSpec extends SpawnRequest, ChildPolicy {
  /** From TERM to KILL, ms. */
  readonly stopGraceMs: number;
  /** With `ready: "manual"`: how long a run may take to `markReady()` before it is ended as a failure. Default: for ever. */
  readonly startTimeoutMs?: number;
  /** How many runs earlier processes of ours made of it; `run` goes on from there. Default 0. */
  readonly runsBefore?: number;
  /** A piece of stdout, the receiver's to keep. While a returned promise is unsettled nothing more is read, and a full pipe stops the child. */
  readonly onStdout?: (chunk: Uint8Array, run: number) => void | Promise<void>;
  /** A piece of stderr, the receiver's to keep. Its reading never pauses. */
  readonly onStderr?: (chunk: Uint8Array, run: number) => void;
  /** A run that could not be begun, after the state that follows. Without this it is logged. */
  readonly onSpawnFailed?: (error: SpawnError, run: number) => void;
  /** After every change of state. */
  readonly onState?: (next: ChildState, previous: ChildState) => void;
  /** Once for each run, before the state that follows it. */
  readonly onExit?: (end: RunEnd) => void;
}

/** What a child needs from outside. */
export interface ChildOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly spawn?: Spawn;
  readonly spec: ChildSpec;
}
