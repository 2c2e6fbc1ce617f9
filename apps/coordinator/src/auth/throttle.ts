/**
 * Slows down guessing: counts wrong tokens per address. An address over the limit is not shut out, because others may share
 * it behind a NAT. Until its window ends, only tokens too long to guess are checked, so agents' credentials and generated
 * tokens keep working; shorter tokens wait. Used by Auth. (H5)
 */
import type { Clock } from "@fleet/daemon";
import { isGuessable } from "./secret-text.ts";

const WINDOW_MS = 60_000;
/** Wrong tokens per address and window before the address is throttled. */
export const FAILURES_MAX = 20;
/** Addresses tracked; beyond this, the one whose window began first is forgotten. */
const ADDRESSES_MAX = 10_000;

interface Window {
  readonly beganMs: number;
  failures: number;
}

/** Counts failures per IPv4 address, or per /64 of an IPv6 address. */
export class Throttle {
  readonly #clock: Clock;
  /** By address, oldest window first. */
  readonly #windows = new Map<string, Window>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds until `token` from `address` may be checked; undefined if it may be checked now. */
  waitMs(address: string, token: string): number | undefined {
    return isGuessable(token) ? this.throttledMs(address) : undefined;
  }

  /** Milliseconds until `address` is no longer throttled; undefined if it isn't throttled. */
  throttledMs(address: string): number | undefined {
    const window = this.#windows.get(blockOf(address));
    if (window === undefined || window.failures < FAILURES_MAX) return undefined;
    const leftMs = window.beganMs + WINDOW_MS - this.#clock.monotonicMs();
    return leftMs > 0 ? leftMs : undefined;
  }

  /** Counts a wrong token from `address`. */
  addFailure(address: string): void {
    const key = blockOf(address);
    const nowMs = this.#clock.monotonicMs();
    const window = this.#windows.get(key);
    if (window !== undefined && nowMs - window.beganMs < WINDOW_MS) {
      window.failures++;
      return;
    }
    // Deleted first, so that it moves to the end.
    this.#windows.delete(key);
    this.#windows.set(key, { beganMs: nowMs, failures: 1 });
    if (this.#windows.size <= ADDRESSES_MAX) return;
    const [oldest] = this.#windows.keys();
    this.#windows.delete(oldest!);
  }
}

/** The block that one network customer usually gets: an IPv4 address, or the /64 of an IPv6 address. */
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
