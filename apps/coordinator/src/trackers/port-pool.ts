/** The ports trackers listen on: which stream holds which, and whether one is really free. Memory only; the leases' durable form is the tracker's row. (T3) */
import type { StreamId } from "@fleet/protocol";

/** Leases ports of `[first, last]` to streams, one each. */
export class PortPool {
  readonly #first: number;
  readonly #last: number;
  readonly #isFree: (port: number) => boolean;
  readonly #holders = new Map<number, StreamId>();
  readonly #held = new Map<StreamId, number>();

  constructor(first: number, last: number, isFree: (port: number) => boolean = isPortFree) {
    this.#first = first;
    this.#last = last;
    this.#isFree = isFree;
  }

  /** How many ports there are in all. */
  get size(): number {
    return this.#last - this.#first + 1;
  }

  /** How many are leased. */
  get leased(): number {
    return this.#held.size;
  }

  /** Whether `port` is one of these, leased or not. */
  covers(port: number): boolean {
    return port >= this.#first && port <= this.#last;
  }

  /** The port `stream` holds, or undefined. */
  portOf(stream: StreamId): number | undefined {
    return this.#held.get(stream);
  }

  /** Restores a lease of an earlier process, unchecked. False when it is outside the range or another stream's. */
  restore(stream: StreamId, port: number): boolean {
    if (!this.covers(port) || this.#holders.has(port)) return false;
    this.#hold(stream, port);
    return true;
  }

  /** The port the stream holds, when nobody else listens on it. */
  renew(stream: StreamId): number | undefined {
    const held = this.#held.get(stream);
    return held !== undefined && this.#isFree(held) ? held : undefined;
  }

  /**
   * A port that nobody listens on: the one the stream holds when it is still free, else the lowest free one, which it
   * holds from now on. Ports somebody else is listening on are skipped. Undefined when the range is exhausted.
   */
  lease(stream: StreamId): number | undefined {
    const held = this.renew(stream);
    if (held !== undefined) return held;
    for (let port = this.#first; port <= this.#last; port++) {
      if (this.#holders.has(port) || !this.#isFree(port)) continue;
      this.release(stream);
      this.#hold(stream, port);
      return port;
    }
    return undefined;
  }

  release(stream: StreamId): void {
    const port = this.#held.get(stream);
    if (port === undefined) return;
    this.#held.delete(stream);
    this.#holders.delete(port);
  }

  #hold(stream: StreamId, port: number): void {
    this.#holders.set(port, stream);
    this.#held.set(stream, port);
  }
}

/** Whether nothing listens on `port` of the loopback address, found out by listening there for a moment. */
function isPortFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}
