/**
 * One child process under supervision: spawned, watched, restarted with backoff, stopped by TERM then KILL to its group.
 * The agent keeps its sensors this way, the coordinator its trackers. The rules are in child-state.ts; this file acts on them.
 *
 * Guarantees: at most one process at a time; nothing of a run's group outlives the run; every output of a run is handed over
 * before its `onExit`, and that before the next run; what an older run does is never taken for the current one. (A11, A12, T5, T6)
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

/** How long before a stop's deadline KILL is sent at the latest, so that the exit is still seen in time. */
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

/** See the head of this file. May be started again once a stop has finished. */
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

  /** The process id while there is a process. */
  get pid(): number | undefined {
    return "pid" in this.#state ? this.#state.pid : undefined;
  }

  /** Spawns the first run; a spawn that fails is retried like any failure. No-op when started. Throws while a stop is under way. */
  start(): void {
    if (this.#started) {
      if (this.#stopping !== undefined) throw new Error("start() while the child is stopping");
      return;
    }
    this.#started = true;
    this.#stopping = undefined;
    this.#begin();
  }

  /**
   * Ends the child for good: TERM to its group, KILL after `stopGraceMs` or KILL_MARGIN_MS before `deadlineMs` (monotonic),
   * whichever is first. Resolves when the process is gone and its output handed over; at the deadline the rest of the output
   * is given up. Rejects with `DeadlineError` if the process is still there then. Calling it again gives the same promise and
   * may bring the deadline forward.
   */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= newStopping();
    const stopping = this.#stopping;
    if (this.#started) {
      this.#apply({ type: "stop_asked", killAtMs: this.#killAtMs(deadlineMs) });
      if (this.#state.at !== "stopped") this.#holdTo(stopping, deadlineMs);
    }
    if (this.#state.at === "stopped") this.#finishStop();
    return stopping.promise;
  }

  /** Ends the current run, if any, and begins the next at once, with no failures counted. No-op unless started. */
  restart(reason: string): void {
    if (!this.#started || this.#stopping !== undefined) return;
    this.#log.info({ reason, run: this.#runNumber }, "restart asked for");
    const atMs = this.#clock.monotonicMs();
    this.#apply({
      type: "restart_asked",
      atMs,
      killAtMs: this.#killAtMs(Number.POSITIVE_INFINITY),
    });
  }

  /** Ends the current run, if any, as one that has failed: the next comes after the backoff. */
  fail(reason: string): void {
    if (this.#current === undefined || this.#state.at === "stopping") return;
    this.#log.warn({ reason, run: this.#runNumber, pid: this.pid }, "ending it");
    const killAtMs = this.#killAtMs(Number.POSITIVE_INFINITY);
    this.#apply({ type: "failed", atMs: this.#clock.monotonicMs(), killAtMs });
  }

  /** Says that the current run is up, with `ready: "manual"`. No-op in any state but `starting`. */
  markReady(): void {
    this.#apply({ type: "ready", atMs: this.#clock.monotonicMs() });
  }

  #killAtMs(deadlineMs: number): number {
    const nowMs = this.#clock.monotonicMs();
    return Math.max(nowMs, Math.min(nowMs + this.#spec.stopGraceMs, deadlineMs - KILL_MARGIN_MS));
  }

  /** The one setter of the state: moves, acts on what was entered, tells the owner. */
  #apply(event: ChildEvent): void {
    const previous = this.#state;
    const next = nextState(previous, event, this.#spec);
    if (next === previous) return;
    this.#state = next;
    this.#enter(next, previous);
    this.#tell(() => this.#spec.onState?.(next, previous));
    // The owner may have acted on the news; only a state that still stands is gone on from.
    if (this.#state !== next) return;
    if (next.at === "backoff") this.#armRetry(next.failures, next.retryAtMs);
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

  #armRetry(failures: number, retryAtMs: number): void {
    if (failures === 0) return this.#begin();
    const delayMs = Math.max(0, retryAtMs - this.#clock.monotonicMs());
    this.#timer = this.#clock.after(delayMs, () => this.#begin());
  }

  #begin(): void {
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
      this.#tell(() => this.#spec.onSpawnFailed?.(error, number));
      return;
    }
    const outputs = new Outputs(this.#clock, child, {
      onStdout: (chunk) => this.#guard(() => this.#spec.onStdout?.(chunk, number)),
      onStderr: (chunk) => this.#tell(() => this.#spec.onStderr?.(chunk, number)),
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
    // Now or never: while the group has members its id cannot be reused, later it can.
    run.process.signalGroup("SIGKILL");
    if (this.#current === run) this.#timer?.cancel();
    await run.outputs.drain();
    if (this.#current === run) this.#finishRun(run.exit, atMs);
  }

  #finishRun(end: RunEnd, atMs: number): void {
    this.#current = undefined;
    const { run, pid, code, signal, ranMs } = end;
    const fields = { run, pid, code, signal, ran_ms: Math.round(ranMs) };
    if (this.#state.at === "stopping") this.#log.debug(fields, "ended");
    else this.#log.warn(fields, "exited");
    this.#tell(() => this.#spec.onExit?.(end));
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

  #holdTo(stopping: Stopping, deadlineMs: number): void {
    if (stopping.deadlineMs <= deadlineMs) return;
    stopping.deadlineMs = deadlineMs;
    stopping.timer?.cancel();
    const delayMs = Math.max(0, deadlineMs - this.#clock.monotonicMs());
    stopping.timer = this.#clock.after(delayMs, () => {
      const run = this.#current;
      if (run?.exit === undefined) stopping.reject(new DeadlineError());
      run?.outputs.cut();
    });
  }

  #finishStop(): void {
    this.#stopping?.timer?.cancel();
    this.#stopping?.resolve();
    this.#started = false;
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#log.error({ err: error, run: this.#runNumber }, "a callback of the child threw");
    }
  }

  #guard(call: () => void | Promise<void>): void | Promise<void> {
    try {
      const busy = call();
      return busy?.catch((error: unknown) =>
        this.#log.error({ err: error, run: this.#runNumber }, "a callback of the child rejected"),
      );
    } catch (error) {
      this.#log.error({ err: error, run: this.#runNumber }, "a callback of the child threw");
    }
  }
}

function newStopping(): Stopping {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Whoever awaits the promise hears of a rejection; nobody has to.
  promise.catch(() => {});
  return { promise, resolve, reject, deadlineMs: Number.POSITIVE_INFINITY, timer: undefined };
}
