/**
 * Detects a peer that has gone although its connection still looks open: asks for a message after a period without one, and
 * reports a peer from which nothing was received. Uses a single timer regardless of the traffic.
 */
import type { Clock, Timer } from "./clock.ts";

/** How long each side may be silent, and the callbacks for it. */
export interface KeepaliveOptions {
  readonly clock: Clock;
  /** `onIdle` is called whenever nothing was sent for this long. */
  readonly idleMs: number;
  /** `onDead` is called once, when nothing was received for this long. */
  readonly deadMs: number;
  /** Must send something to the peer. */
  readonly onIdle: () => void;
  /** The peer was silent for `deadMs` while we were reading. No callback follows. */
  readonly onDead: () => void;
}

/** Runs from construction until `stop`. */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  #sentMs: number;
  #receivedMs: number;
  #isReading = true;
  #timer: Timer | undefined;

  constructor(options: KeepaliveOptions) {
    this.#options = options;
    this.#sentMs = options.clock.monotonicMs();
    this.#receivedMs = this.#sentMs;
    this.#arm();
  }

  /** Reports that something was sent to the peer. */
  sent(): void {
    this.#sentMs = this.#options.clock.monotonicMs();
  }

  /** Reports that something was received from the peer. */
  received(): void {
    this.#receivedMs = this.#options.clock.monotonicMs();
  }

  /** Reports whether the connection is being read. While it is not, silence is not counted; afterwards it is counted from zero. */
  setReading(isReading: boolean): void {
    if (this.#isReading === isReading) return;
    this.#isReading = isReading;
    this.received();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Due times only move to later while the timer is pending, so it may fire early but never late. */
  #arm(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#timer = clock.after(Math.max(0, this.#dueMs() - clock.monotonicMs()), () => this.#due());
  }

  #dueMs(): number {
    const idleAtMs = this.#sentMs + this.#options.idleMs;
    return this.#isReading ? Math.min(idleAtMs, this.#deadAtMs()) : idleAtMs;
  }

  #deadAtMs(): number {
    return this.#receivedMs + this.#options.deadMs;
  }

  #due(): void {
    const { clock, idleMs, onIdle, onDead } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#isReading && nowMs >= this.#deadAtMs()) {
      this.stop();
      onDead();
      return;
    }
    const isIdle = nowMs >= this.#sentMs + idleMs;
    // Before the callback, so that nothing `onIdle` does, such as `stop`, is undone.
    if (isIdle) this.sent();
    this.#arm();
    if (isIdle) onIdle();
  }
}
