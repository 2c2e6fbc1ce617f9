/**
 * The ports that trackers listen on: which stream holds which, and whether a port is free. It is in memory; the durable lease
 * is in the tracker's row. (T3)
 */
import type { StreamId } from "@fleet/protocol";

/** Leases the ports of `[first, last]` to streams, one for each. */
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

  /** The number of ports. */
  get size(): number {
    return this.#last - this.#first + 1;
  }

  /** The number of leased ports. */
  get leased(): number {
    return this.#held.size;
  }

  /** Whether `port` is in the range, leased or not. */
  covers(port: number): boolean {
    return port >= this.#first && port <= this.#last;
  }

  /** The port that `stream` holds; undefined when it holds none. */
  portOf(stream: StreamId): number | undefined {
    return this.#held.get(stream);
  }

  /** Restores a lease of an earlier process without a check. Returns false when the port is out of range or leased. */
  restore(stream: StreamId, port: number): boolean {
    if (!this.covers(port) || this.#holders.has(port)) return false;
    this.#hold(stream, port);
    return true;
  }

  /** The port that the stream holds, unless another process listens on it. */
  renew(stream: StreamId): number | undefined {
    const held = this.#held.get(stream);
    return held !== undefined && this.#isFree(held) ? held : undefined;
  }

  /**
   * Leases a free port: the one that the stream holds if it is still free, otherwise the lowest one. Ports that other
   * processes listen on are skipped. Returns undefined when the range is exhausted.
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

/** Whether nothing listens on `port` of the loopback address. It listens there for a moment to find out. */
function isPortFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}
