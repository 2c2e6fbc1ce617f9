/**
 * Supervises one child process: spawns it, reads its outputs, restarts it with backoff, and stops it with TERM, then KILL, to
 * its process group. Used by the agent for sensors and by the coordinator for trackers. The state transitions are in
 * child-state.ts.
 *
 * Guarantees: at most one process at a time; no member of a run's group outlives the run; all output of a run is delivered
 * before its `onExit`, and that call precedes the next run; events of an older run never affect the current one. (A11, A12, T5,
 * T6)
 */
import {
  type Clock,
  DeadlineError,
  type Log,
  type Random,
  type Service,
  type Timer,
} from "@fleet/daemon";

import type { ChildOptions, ChildSpec, RunEnd } from "./child-spec.ts";
import { type ChildEvent, type ChildState, nextState } from "./child-state.ts";
import { Outputs } from "./outputs.ts";
import {
  type GroupSignal,
  type ProcessExit,
  type Spawn,
  SpawnError,
  type SpawnedProcess,
  systemSpawn,
} from "./spawn.ts";

/** KILL is sent at least this long before a stop's deadline, so that the exit can be observed in time. */
export const KILL_MARGIN_MS = 200;

interface Run {
  readonly number: number;
  readonly process: SpawnedProcess;
  readonly outputs: Outputs;
  readonly spawnedMs: number;
  exit: RunEnd | undefined;
}

interface Stopping {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  deadlineMs: number;
  timer: Timer | undefined;
}

/** A supervised child process. It can be started again after a completed stop. */
export class Child implements Service {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #spawn: Spawn;
  readonly #spec: ChildSpec;
  #state: ChildState = { at: "stopped" };
  #runNumber: number;
  #current: Run | undefined;
  #timer: Timer | undefined;
  #stopping: Stopping | undefined;
  #started = false;

  constructor(options: ChildOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#log = options.log;
    this.#spawn = options.spawn ?? systemSpawn;
    this.#spec = options.spec;
    this.#runNumber = options.spec.runsBefore ?? 0;
  }

  get state(): ChildState {
    return this.#state;
  }

  /** The number of the latest spawn, successful or not; 1 for the first. */
  get run(): number {
    return this.#runNumber;
  }

  /** The process id; undefined while there is no process. */
  get pid(): number | undefined {
    return "pid" in this.#state ? this.#state.pid : undefined;
  }

  /** Spawns the first run; a failed spawn is retried like any failure. No-op when already started. Throws during a stop. */
  start(): void {
    if (this.#started) {
      if (this.#stopping !== undefined) throw new Error("start() while the child is stopping");
      return;
    }
    this.#started = true;
    this.#stopping = undefined;
    this.#spawnRun();
  }

  /**
   * Stops the child without a restart: sends TERM to its group, and KILL after `stopGraceMs` or KILL_MARGIN_MS before
   * `deadlineMs` (monotonic), whichever is earlier. Resolves when the process has exited and its output is delivered; at the
   * deadline, remaining output is discarded. Rejects with `DeadlineError` if the process still runs then. Another call returns
   * the same promise and can only bring the deadline forward.
   */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= newStopping();
    const stopping = this.#stopping;
    if (this.#started) {
      this.#apply({ type: "stop_requested", killAtMs: this.#killAtMs(deadlineMs) });
      if (this.#state.at !== "stopped") this.#enforceDeadline(stopping, deadlineMs);
    }
    if (this.#state.at === "stopped") this.#finishStop();
    return stopping.promise;
  }

  /** Stops the current run, if any, and spawns the next without delay, with the failures reset. No-op unless started. */
  restart(reason: string): void {
    if (!this.#started || this.#stopping !== undefined) return;
    this.#log.info({ reason, run: this.#runNumber }, "restarting");
    const atMs = this.#clock.monotonicMs();
    this.#apply({
      type: "restart_requested",
      atMs,
      killAtMs: this.#killAtMs(Number.POSITIVE_INFINITY),
    });
  }

  /** Stops the current run, if any, as a failure: the next run follows after the backoff. */
  fail(reason: string): void {
    if (this.#current === undefined || this.#state.at === "stopping") return;
    this.#log.warn({ reason, run: this.#runNumber, pid: this.pid }, "stopping the failed run");
    const killAtMs = this.#killAtMs(Number.POSITIVE_INFINITY);
    this.#apply({ type: "failed", atMs: this.#clock.monotonicMs(), killAtMs });
  }

  /** Reports that the current run is ready, with `ready: "manual"`. No-op in states other than `starting`. */
  markReady(): void {
    this.#apply({ type: "ready", atMs: this.#clock.monotonicMs() });
  }

  #killAtMs(deadlineMs: number): number {
    const nowMs = this.#clock.monotonicMs();
    return Math.max(nowMs, Math.min(nowMs + this.#spec.stopGraceMs, deadlineMs - KILL_MARGIN_MS));
  }

  /** The only setter of the state: makes the transition, acts on it, and notifies the owner. */
  #apply(event: ChildEvent): void {
    const previous = this.#state;
    const next = nextState(previous, event, this.#spec);
    if (next === previous) return;
    this.#state = next;
    this.#enter(next, previous);
    this.#notify(() => this.#spec.onState?.(next, previous));
    // The owner may have changed the state in its callback; then that change has already been acted on.
    if (this.#state !== next) return;
    if (next.at === "backoff") this.#scheduleRetry(next.failures, next.retryAtMs);
    if (next.at === "stopped" && this.#stopping !== undefined) this.#finishStop();
  }

  #enter(next: ChildState, previous: ChildState): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (next.at === "starting" && this.#spec.startTimeoutMs !== undefined) {
      this.#timer = this.#clock.after(this.#spec.startTimeoutMs, () => {
        this.fail("not ready in time");
      });
    }
    if (next.at === "stopping") {
      if (previous.at !== "stopping") this.#signal("SIGTERM");
      const delayMs = Math.max(0, next.killAtMs - this.#clock.monotonicMs());
      this.#timer = this.#clock.after(delayMs, () => this.#signal("SIGKILL"));
    }
  }

  #scheduleRetry(failures: number, retryAtMs: number): void {
    if (failures === 0) return this.#spawnRun();
    const delayMs = Math.max(0, retryAtMs - this.#clock.monotonicMs());
    this.#timer = this.#clock.after(delayMs, () => this.#spawnRun());
  }

  #spawnRun(): void {
    const number = ++this.#runNumber;
    const spawnedMs = this.#clock.monotonicMs();
    let child: SpawnedProcess;
    try {
      child = this.#spawn(this.#spec);
    } catch (error) {
      if (!(error instanceof SpawnError)) throw error;
      if (this.#spec.onSpawnFailed === undefined)
        this.#log.warn({ run: number, errno: error.errno }, error.message);
      this.#apply({ type: "spawn_failed", atMs: spawnedMs, chance: this.#random.next() });
      this.#notify(() => this.#spec.onSpawnFailed?.(error, number));
      return;
    }
    const outputs = new Outputs(this.#clock, child, {
      onStdout: (chunk) => this.#notifyAsync(() => this.#spec.onStdout?.(chunk, number)),
      onStderr: (chunk) => this.#notify(() => this.#spec.onStderr?.(chunk, number)),
    });
    const run: Run = { number, process: child, outputs, spawnedMs, exit: undefined };
    this.#current = run;
    void child.exited.then((exit) => this.#onProcessExit(run, exit));
    this.#log.debug({ run: number, pid: child.pid }, "spawned");
    this.#apply({ type: "spawned", pid: child.pid, atMs: spawnedMs });
  }

  async #onProcessExit(run: Run, exit: ProcessExit): Promise<void> {
    const atMs = this.#clock.monotonicMs();
    run.exit = {
      ...exit,
      run: run.number,
      pid: run.process.pid,
      ranMs: atMs - run.spawnedMs,
    };
    // The group must be killed now: its id can be reused as soon as the group is empty.
    run.process.signalGroup("SIGKILL");
    if (this.#current === run) this.#timer?.cancel();
    await run.outputs.drain();
    if (this.#current === run) this.#finishRun(run.exit, atMs);
  }

  #finishRun(end: RunEnd, atMs: number): void {
    this.#current = undefined;
    const { run, pid, code, signal, ranMs } = end;
    const fields = { run, pid, code, signal, ran_ms: Math.round(ranMs) };
    if (this.#state.at === "stopping") this.#log.debug(fields, "stopped");
    else this.#log.warn(fields, "exited");
    this.#notify(() => this.#spec.onExit?.(end));
    this.#apply({
      type: "exited",
      atMs,
      clean: end.code === 0,
      chance: this.#random.next(),
    });
  }

  #signal(signal: GroupSignal): void {
    const run = this.#current;
    if (run !== undefined && run.exit === undefined) run.process.signalGroup(signal);
  }

  #enforceDeadline(stopping: Stopping, deadlineMs: number): void {
    if (stopping.deadlineMs <= deadlineMs) return;
    stopping.deadlineMs = deadlineMs;
    stopping.timer?.cancel();
    const delayMs = Math.max(0, deadlineMs - this.#clock.monotonicMs());
    stopping.timer = this.#clock.after(delayMs, () => {
      const run = this.#current;
      if (run?.exit === undefined) stopping.reject(new DeadlineError());
      run?.outputs.close();
    });
  }

  #finishStop(): void {
    this.#stopping?.timer?.cancel();
    this.#stopping?.resolve();
    this.#started = false;
  }

  #notify(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#log.error({ err: error, run: this.#runNumber }, "a callback threw");
    }
  }

  #notifyAsync(call: () => void | Promise<void>): void | Promise<void> {
    try {
      const busy = call();
      return busy?.catch((error: unknown) =>
        this.#log.error({ err: error, run: this.#runNumber }, "a callback rejected"),
      );
    } catch (error) {
      this.#log.error({ err: error, run: this.#runNumber }, "a callback threw");
    }
  }
}

function newStopping(): Stopping {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // A caller that does not await the promise must not cause an unhandled rejection.
  promise.catch(() => {});
  return { promise, resolve, reject, deadlineMs: Number.POSITIVE_INFINITY, timer: undefined };
}
