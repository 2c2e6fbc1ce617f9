/**
 * Limits the connections of the frame port, so that nobody can use up its descriptors or its memory: all of them together,
 * those from one address, and those that have not authenticated. TcpServer owns one. (T1)
 *
 * Beyond the first limit a new connection is refused. Beyond the second it takes the place of its address's oldest
 * unauthenticated connection, and is refused when there is none; beyond the third the oldest of all gives way. A client with
 * a token authenticates within one round trip, so idle connections of strangers cannot keep it out, not even from behind the
 * same NAT or load balancer.
 */

/** The limits, in connections; `descriptorMax` is the highest file descriptor a connection may have. */
export interface ConnectionLimits {
  readonly connectionsMax: number;
  readonly perAddressMax: number;
  readonly descriptorMax: number;
}

/** Why a connection is refused. */
export type ConnectionRefusal =
  | "too_many_connections"
  | "too_many_from_address"
  | "out_of_descriptors";

/** The share of `connectionsMax` that may be unauthenticated at a time. */
const UNAUTHENTICATED_SHARE = 1 / 4;

/** Counts the open connections, which it tells apart by identity. */
export class ConnectionLimiter<C> {
  readonly #limits: ConnectionLimits;
  readonly #unauthenticatedMax: number;
  /** Every open connection, with its address. */
  readonly #addresses = new Map<C, string>();
  readonly #perAddress = new Map<string, number>();
  /** Oldest first. */
  readonly #unauthenticated = new Set<C>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
    this.#unauthenticatedMax = Math.max(
      1,
      Math.floor(limits.connectionsMax * UNAUTHENTICATED_SHARE),
    );
  }

  /** The number of open connections. */
  get size(): number {
    return this.#addresses.size;
  }

  all(): IterableIterator<C> {
    return this.#addresses.keys();
  }

  /** Why another connection from `address` is refused; undefined when there is room for it. */
  refusalOf(address: string, descriptor: number): ConnectionRefusal | undefined {
    const { connectionsMax, perAddressMax, descriptorMax } = this.#limits;
    if (this.#addresses.size >= connectionsMax) return "too_many_connections";
    if (
      (this.#perAddress.get(address) ?? 0) >= perAddressMax &&
      this.#oldestOf(address) === undefined
    )
      return "too_many_from_address";
    // The system hands out the lowest free descriptor, so a high one means that few are left.
    return descriptor > descriptorMax ? "out_of_descriptors" : undefined;
  }

  /** Reserves a place for an unauthenticated connection. Returns the connection that must be closed for it, if any. */
  reserve(connection: C, address: string): C | undefined {
    const ofAddress = (this.#perAddress.get(address) ?? 0) + 1;
    const replaced = ofAddress > this.#limits.perAddressMax ? this.#oldestOf(address) : undefined;
    this.#addresses.set(connection, address);
    this.#perAddress.set(address, ofAddress);
    this.#unauthenticated.add(connection);
    if (replaced !== undefined) return replaced;
    if (this.#unauthenticated.size <= this.#unauthenticatedMax) return undefined;
    const [oldest] = this.#unauthenticated;
    return oldest;
  }

  #oldestOf(address: string): C | undefined {
    for (const connection of this.#unauthenticated)
      if (this.#addresses.get(connection) === address) return connection;
    return undefined;
  }

  /** Notes that a connection has authenticated. */
  markAuthenticated(connection: C): void {
    this.#unauthenticated.delete(connection);
  }

  /** Releases the place of a connection that has closed. Further calls do nothing. */
  release(connection: C): void {
    const address = this.#addresses.get(connection);
    if (address === undefined) return;
    this.#addresses.delete(connection);
    this.#unauthenticated.delete(connection);
    const left = this.#perAddress.get(address)! - 1;
    if (left === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, left);
  }
}
