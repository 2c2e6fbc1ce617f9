/**
 * Decides which connections the frame port keeps, so that nobody can use up its descriptors or its memory: a limit in all,
 * one for each address, and one for those that have not said who they are. (T1)
 *
 * Beyond the first two the new connection is turned away. Beyond the third the oldest unauthenticated one gives way: who
 * has a token needs one round trip to authenticate, so strangers who only hold connections open can't keep it out.
 */

/** The limits, in connections; `descriptorMax` is the highest file descriptor one may have. */
export interface AdmissionLimits {
  readonly connectionsMax: number;
  readonly perAddressMax: number;
  readonly descriptorMax: number;
}

/** Why a connection was turned away. */
export type Refusal = "too_many_connections" | "too_many_from_address" | "out_of_descriptors";

/** Of `connectionsMax`, the part that may be unauthenticated at a time. */
const UNAUTHENTICATED_PART = 1 / 4;

/** The connections there are. `C` is told apart by identity. */
export class Admission<C> {
  readonly #limits: AdmissionLimits;
  readonly #unauthenticatedMax: number;
  /** With their addresses. */
  readonly #members = new Map<C, string>();
  readonly #ofAddress = new Map<string, number>();
  /** Oldest first. */
  readonly #unauthenticated = new Set<C>();

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
    this.#unauthenticatedMax = Math.max(
      1,
      Math.floor(limits.connectionsMax * UNAUTHENTICATED_PART),
    );
  }

  /** Connections that are kept. */
  get size(): number {
    return this.#members.size;
  }

  all(): IterableIterator<C> {
    return this.#members.keys();
  }

  /** Whether another one from `address` may come. A system gives out the lowest descriptor that is free. */
  refusal(address: string, descriptor: number): Refusal | undefined {
    const { connectionsMax, perAddressMax, descriptorMax } = this.#limits;
    if (this.#members.size >= connectionsMax) return "too_many_connections";
    if ((this.#ofAddress.get(address) ?? 0) >= perAddressMax) return "too_many_from_address";
    return descriptor > descriptorMax ? "out_of_descriptors" : undefined;
  }

  /** Keeps `connection`. Gives the one that has to go for it, if any. */
  add(connection: C, address: string): C | undefined {
    this.#members.set(connection, address);
    this.#ofAddress.set(address, (this.#ofAddress.get(address) ?? 0) + 1);
    this.#unauthenticated.add(connection);
    if (this.#unauthenticated.size <= this.#unauthenticatedMax) return undefined;
    const [oldest] = this.#unauthenticated;
    return oldest;
  }

  /** It has said who it is. */
  authenticated(connection: C): void {
    this.#unauthenticated.delete(connection);
  }

  /** It has gone. Safe to call twice. */
  remove(connection: C): void {
    const address = this.#members.get(connection);
    if (address === undefined) return;
    this.#members.delete(connection);
    this.#unauthenticated.delete(connection);
    const left = this.#ofAddress.get(address)! - 1;
    if (left === 0) this.#ofAddress.delete(address);
    else this.#ofAddress.set(address, left);
  }
}
