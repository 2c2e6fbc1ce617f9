/**
 * Finds out that a peer has gone although its connection still looks open: says something when nothing was said for a
 * while, and gives up who is not heard. One timer, however much is said and heard in between.
 */
import type { Clock, Timer } from "./clock.ts";

/** How long each end may be quiet, and what happens then. */
export interface KeepaliveOptions {
  readonly clock: Clock;
  /** Our own silence after which `onQuiet` is called, and again after each such time. */
  readonly quietMs: number;
  /** The peer's silence after which `onDead` is called, once. */
  readonly deadMs: number;
  /** Something has to be said. */
  readonly onQuiet: () => void;
  /** The peer was not heard for `deadMs` while we listened. Nothing is called after it. */
  readonly onDead: () => void;
}

/** Runs from when it is made until `stop`. */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  #saidMs: number;
  #heardMs: number;
  #listens = true;
  #timer: Timer | undefined;

  constructor(options: KeepaliveOptions) {
    this.#options = options;
    this.#saidMs = options.clock.monotonicMs();
    this.#heardMs = this.#saidMs;
    this.#arm();
  }

  /** Something went to the peer. */
  said(): void {
    this.#saidMs = this.#options.clock.monotonicMs();
  }

  /** Something came from the peer. */
  heard(): void {
    this.#heardMs = this.#options.clock.monotonicMs();
  }

  /** Whether what the peer says is read. While it is not, its silence means nothing; afterwards it counts from anew. */
  listens(yes: boolean): void {
    if (this.#listens === yes) return;
    this.#listens = yes;
    this.heard();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Due times only move on while it waits, so the timer may come early but never late. */
  #arm(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#timer = clock.after(Math.max(0, this.#dueMs() - clock.monotonicMs()), () => this.#due());
  }

  #dueMs(): number {
    const quietAtMs = this.#saidMs + this.#options.quietMs;
    return this.#listens ? Math.min(quietAtMs, this.#deadAtMs()) : quietAtMs;
  }

  #deadAtMs(): number {
    return this.#heardMs + this.#options.deadMs;
  }

  #due(): void {
    const { clock, quietMs, onQuiet, onDead } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#listens && nowMs >= this.#deadAtMs()) {
      this.stop();
      onDead();
      return;
    }
    const isQuiet = nowMs >= this.#saidMs + quietMs;
    // First, so that what is done in `onQuiet`, `stop` included, is not undone.
    if (isQuiet) this.said();
    this.#arm();
    if (isQuiet) onQuiet();
  }
}
