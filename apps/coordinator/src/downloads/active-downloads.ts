/**
 * Limits and tracks concurrent downloads. The server reports only whether a request is still open, not when its response has
 * been sent, so this polls: every second while a download is active, and whenever another one begins. (H8)
 */
import type { Clock, Service } from "@fleet/daemon";

const POLL_MS = 1000;

/** A request that is counted. */
export interface Download {
  /** Calls `fn` once, when the request has ended for any reason; at once if it has already. */
  onEnd(fn: () => void): void;
}

interface Active {
  readonly isOpen: () => boolean;
  readonly ends: (() => void)[];
}

/** Admits at most `max` downloads at a time. Stop it after the HTTP server, which ends all requests. */
export class ActiveDownloads implements Service {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #active = new Set<Active>();
  #isScheduled = false;

  constructor(clock: Clock, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  get count(): number {
    return this.#active.size;
  }

  /** Counts a request until `isOpen` returns false. Undefined if `max` downloads are active. */
  begin(isOpen: () => boolean): Download | undefined {
    this.#poll();
    if (this.#active.size >= this.#max) return undefined;
    const active: Active = { isOpen, ends: [] };
    this.#active.add(active);
    this.#schedule();
    return { onEnd: (fn) => (this.#active.has(active) ? void active.ends.push(fn) : fn()) };
  }

  start(): void {}

  async stop(): Promise<void> {
    for (const active of this.#active) this.#end(active);
  }

  #poll(): void {
    for (const active of this.#active) if (!active.isOpen()) this.#end(active);
  }

  #end(active: Active): void {
    this.#active.delete(active);
    for (const end of active.ends) end();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.after(POLL_MS, () => {
      this.#isScheduled = false;
      this.#poll();
      if (this.#active.size > 0) this.#schedule();
    });
  }
}
