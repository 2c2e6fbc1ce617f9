/** The user's wish that the demo ends: the first signal asks, a later one means it. */

/** `npx` and `bun run` pass a Ctrl-C on to us, which the terminal has sent us already: within this time it is the same one. */
const SAME_SIGNAL_MS = 1000;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** A signal that ends the demo. */
export type EndSignal = keyof typeof EXIT_CODES;

/** Listens from its construction on. */
export class StopRequest {
  /** Settles at the first signal. */
  readonly asked: Promise<void>;
  #signal: EndSignal | undefined;
  readonly #settle: () => void;

  /** `onSecond` must end the process. */
  constructor(onSecond: (exitCode: number) => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.asked = promise;
    this.#settle = resolve;
    let firstMs = 0;
    for (const signal of Object.keys(EXIT_CODES) as EndSignal[])
      process.on(signal, () => {
        if (this.#signal === undefined) {
          firstMs = performance.now();
          this.request(signal);
        } else if (performance.now() - firstMs > SAME_SIGNAL_MS) onSecond(EXIT_CODES[signal]);
      });
  }

  get signal(): EndSignal | undefined {
    return this.#signal;
  }

  /** What a shell expects of a process that a signal ended; undefined when there was none. */
  get exitCode(): number | undefined {
    return this.#signal === undefined ? undefined : EXIT_CODES[this.#signal];
  }

  /** As if the signal had come. */
  request(signal: EndSignal): void {
    this.#signal ??= signal;
    this.#settle();
  }

  /** Waits `ms`, or until a stop is asked for; says whether it is. */
  async within(ms: number): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      this.asked,
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms);
      }),
    ]);
    clearTimeout(timer);
    return this.#signal !== undefined;
  }
}
