/**
 * Who shows wrong tokens, by address, so that tokens can't be found out by trying. (H5)
 *
 * Only failures count, and an address that has had too many is not shut out: others may live behind it. What it shows is
 * looked at all the same if it is long enough that no number of trials would hit on it; so whoever has an agent's
 * credentials, or a token that was made by a machine, gets in as ever. Short tokens wait until the window is over.
 */
import type { Clock } from "@fleet/daemon";
import { isGuessable } from "./secret-text.ts";

const WINDOW_MS = 60_000;
/** Wrong tokens of one address in a window before it has to wait. */
export const FAILURES_MAX = 20;
/** Addresses that are told apart; beyond, the one whose window began first is forgotten. */
const ADDRESSES_MAX = 10_000;

interface Window {
  readonly beganMs: number;
  failures: number;
}

/** Bounded in memory. */
export class AuthFailures {
  readonly #clock: Clock;
  /** By address, the window that began first at the front. */
  readonly #windows = new Map<string, Window>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How long `address` has to wait before `token` is looked at, ms; undefined: not at all. */
  waitMs(address: string, token: string): number | undefined {
    return isGuessable(token) ? this.limitedMs(address) : undefined;
  }

  /** How long `address` has to wait until it may be wrong again, ms; undefined: not at all. */
  limitedMs(address: string): number | undefined {
    const window = this.#windows.get(blockOf(address));
    if (window === undefined || window.failures < FAILURES_MAX) return undefined;
    const leftMs = window.beganMs + WINDOW_MS - this.#clock.monotonicMs();
    return leftMs > 0 ? leftMs : undefined;
  }

  /** `address` has shown a token that opens nothing. */
  add(address: string): void {
    const key = blockOf(address);
    const nowMs = this.#clock.monotonicMs();
    const window = this.#windows.get(key);
    if (window !== undefined && nowMs - window.beganMs < WINDOW_MS) {
      window.failures++;
      return;
    }
    // Deleted first, so that it goes to the end.
    this.#windows.delete(key);
    this.#windows.set(key, { beganMs: nowMs, failures: 1 });
    if (this.#windows.size <= ADDRESSES_MAX) return;
    const [oldest] = this.#windows.keys();
    this.#windows.delete(oldest!);
  }
}

/** What one customer of a network has: an IPv4 address, or the /64 of an IPv6 address. */
function blockOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(":")) return mapped ?? address;
  const [head = "", tail] = address.replace(/%.*$/, "").split("::");
  const before = head === "" ? [] : head.split(":");
  if (tail === undefined) return before.slice(0, 4).join(":");
  const after = tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => "0");
  return [...before, ...zeros, ...after].slice(0, 4).join(":");
}
