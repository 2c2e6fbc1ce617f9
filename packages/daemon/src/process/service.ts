/**
 * The lifecycle of everything that runs: `start()` and `stop()`. Composition roots build a list of services, which
 * `ServiceGroup` starts in order and stops in reverse.
 */
import type { Clock } from "../time/clock.ts";

/** A component that runs between `start()` and `stop()`. */
export interface Service {
  start(): Promise<void> | void;
  /** Stops it by `deadlineMs` (monotonic). A second call returns the same promise. */
  stop(deadlineMs: number): Promise<void>;
}

/** A service with its name in logs. */
export interface NamedService {
  readonly name: string;
  readonly service: Service;
}

/** Why a service could not be stopped cleanly. */
export interface StopProblem {
  readonly name: string;
  readonly cause: unknown;
}

/**
 * Starts services in order and stops them in reverse under one deadline. If a start fails, the services started so far are
 * stopped and the error is rethrown. A service whose stop throws or exceeds the deadline is reported in the result; the others
 * are still stopped.
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

/** A promise did not settle by its deadline. */
export class DeadlineError extends Error {
  readonly code = "deadline";
  constructor() {
    super("not finished by the deadline");
  }
}

/** Settles like `promise`, or rejects with `DeadlineError` at `deadlineMs` (monotonic). */
export function withDeadline<T>(clock: Clock, deadlineMs: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(Math.max(0, deadlineMs - clock.monotonicMs()), () =>
      reject(new DeadlineError()),
    );
    promise.then(resolve, reject).finally(() => timer.cancel());
  });
}
