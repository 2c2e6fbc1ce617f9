/**
 * How many downloads are under way. The server tells no one when an answer has been sent, only whether a request is still
 * open; so this looks, each second while there are any and whenever another one begins. (H8)
 */
import type { Clock, Service } from "@fleet/daemon";

const LOOK_MS = 1000;

/** One request that may be a download. */
export interface Download {
  /** Called once, when the request has ended, however it ended; at once when it has already. */
  onEnd(fn: () => void): void;
}

interface Active {
  readonly isOpen: () => boolean;
  readonly ends: (() => void)[];
}

/** At most so many at once. A service that stops when no request is left, since the server's stop has ended them. */
export class ActiveDownloads implements Service {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #active = new Set<Active>();
  #isWatching = false;

  constructor(clock: Clock, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  get count(): number {
    return this.#active.size;
  }

  /** Counts a request until `isOpen` says it has ended. Undefined when there are as many as there may be. */
  begin(isOpen: () => boolean): Download | undefined {
    this.#look();
    if (this.#active.size >= this.#max) return undefined;
    const active: Active = { isOpen, ends: [] };
    this.#active.add(active);
    this.#watch();
    return { onEnd: (fn) => (this.#active.has(active) ? void active.ends.push(fn) : fn()) };
  }

  start(): void {}

  async stop(): Promise<void> {
    for (const active of this.#active) this.#end(active);
  }

  #look(): void {
    for (const active of this.#active) if (!active.isOpen()) this.#end(active);
  }

  #end(active: Active): void {
    this.#active.delete(active);
    for (const end of active.ends) end();
  }

  #watch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#clock.after(LOOK_MS, () => {
      this.#isWatching = false;
      this.#look();
      if (this.#active.size > 0) this.#watch();
    });
  }
}
