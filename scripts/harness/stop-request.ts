/** Turns signals into a request to stop. The first signal asks for an orderly stop, a second one ends the script at once. */

/** `npx` and `bun run` forward a Ctrl-C that the terminal has also sent us; within this time both count as one. */
const SAME_SIGNAL_MS = 1000;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** A signal that stops the script. */
export type StopSignal = keyof typeof EXIT_CODES;

/** Listens for signals from its construction on. */
export class StopRequest {
  /** Resolves at the first signal. */
  readonly requested: Promise<void>;
  #signal: StopSignal | undefined;
  readonly #resolve: () => void;

  /** `onSecond` must end the process. */
  constructor(onSecond: (exitCode: number) => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.requested = promise;
    this.#resolve = resolve;
    let firstMs = 0;
    for (const signal of Object.keys(EXIT_CODES) as StopSignal[])
      process.on(signal, () => {
        if (this.#signal === undefined) {
          firstMs = performance.now();
          this.request(signal);
        } else if (performance.now() - firstMs > SAME_SIGNAL_MS) onSecond(EXIT_CODES[signal]);
      });
  }

  /** The first signal, or undefined before it. */
  get signal(): StopSignal | undefined {
    return this.#signal;
  }

  /** The exit code that shells use for a process ended by this signal; undefined before the first signal. */
  get exitCode(): number | undefined {
    return this.#signal === undefined ? undefined : EXIT_CODES[this.#signal];
  }

  /** Acts as if `signal` had arrived. */
  request(signal: StopSignal): void {
    this.#signal ??= signal;
    this.#resolve();
  }

  /** Waits `ms`, or less if a stop is requested. Reports whether one is. */
  async within(ms: number): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      this.requested,
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms);
      }),
    ]);
    clearTimeout(timer);
    return this.#signal !== undefined;
  }
}
