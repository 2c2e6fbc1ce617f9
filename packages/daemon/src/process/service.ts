/**
 * The two verbs of everything that runs, and the order in which several of them run.
 * Composition roots build a list of services; `ServiceGroup` starts it in order and stops it in reverse.
 */
import type { Clock } from "../time/clock.ts";

/** Something that runs between `start()` and `stop()`. */
export interface Service {
  start(): Promise<void> | void;
  /** Ends it by `deadlineMs` (on the monotonic clock). Calling it twice gives the same promise. */
  stop(deadlineMs: number): Promise<void>;
}

/** A service with the name it has in logs. */
export interface NamedService {
  readonly name: string;
  readonly service: Service;
}

/** Why a part could not be stopped cleanly; the others were stopped all the same. */
export interface StopProblem {
  readonly name: string;
  readonly cause: unknown;
}

/**
 * Starts services in order and stops them in reverse under one deadline. A failed start stops what had begun and
 * rethrows. A part that throws while stopping, or outlives the deadline, is reported in the result and does not keep
 * the others from being stopped.
 */
export class ServiceGroup {
  readonly #clock: Clock;
  readonly #services: readonly NamedService[];
  readonly #started: NamedService[] = [];
  #stopping: Promise<readonly StopProblem[]> | undefined;

  constructor(clock: Clock, services: readonly NamedService[]) {
    this.#clock = clock;
    this.#services = services;
  }

  async start(deadlineOnFailureMs: number): Promise<void> {
    for (const named of this.#services) {
      if (this.#stopping !== undefined) return;
      this.#started.push(named);
      try {
        await named.service.start();
      } catch (error) {
        await this.stop(this.#clock.monotonicMs() + deadlineOnFailureMs);
        throw error;
      }
    }
  }

  stop(deadlineMs: number): Promise<readonly StopProblem[]> {
    this.#stopping ??= this.#stopAll(deadlineMs);
    return this.#stopping;
  }

  async #stopAll(deadlineMs: number): Promise<readonly StopProblem[]> {
    const problems: StopProblem[] = [];
    for (const { name, service } of this.#started.toReversed()) {
      try {
        await withDeadline(this.#clock, deadlineMs, service.stop(deadlineMs));
      } catch (cause) {
        problems.push({ name, cause });
      }
    }
    return problems;
  }
}

/** A promise was not settled by its deadline. */
export class DeadlineError extends Error {
  readonly code = "deadline";
  constructor() {
    super("not finished by the deadline");
  }
}

/** Settles as `promise` does, or rejects with `DeadlineError` at `deadlineMs` (monotonic). */
export function withDeadline<T>(clock: Clock, deadlineMs: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(Math.max(0, deadlineMs - clock.monotonicMs()), () =>
      reject(new DeadlineError()),
    );
    promise.then(resolve, reject).finally(() => timer.cancel());
  });
}
