/**
 * The counters of one spool and the one place where its balance is checked: every frame ever appended is acknowledged, held or
 * dropped for a reason, and exactly one of these. Owned by DiskSpool; the parts of the spool report to it. (A16)
 */
import type { SpoolStats } from "./spool.ts";

/** Distinct codes of rejected frames that are counted apart; further codes count as `rejected:other`. */
const REJECT_CODES_MAX = 16;
const REJECT_CODE_LENGTH_MAX = 40;

/** The counters as the manifest stores them. */
export interface SavedCounts {
  /** Frames that got a number. */
  readonly numbered: number;
  readonly acked: number;
  /** Numbered frames, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Frames dropped before they got a number, because the spool was full. */
  readonly refused: number;
}

/** A frame is counted when the spool lets it go; a rejected frame is reported as dropped as soon as it is rejected. */
export class SpoolCounts {
  #numbered: number;
  #acked: number;
  #refused: number;
  readonly #dropped: Map<string, number>;
  /** Held frames that the coordinator rejected, with the reason they will be counted under. */
  readonly #rejected = new Map<number, string>();
  readonly #rejectReasons = new Set<string>();

  constructor(saved?: SavedCounts) {
    this.#numbered = saved?.numbered ?? 0;
    this.#acked = saved?.acked ?? 0;
    this.#refused = saved?.refused ?? 0;
    this.#dropped = new Map(Object.entries(saved?.dropped ?? {}));
  }

  /** How many frames ever got a number. */
  get numbered(): number {
    return this.#numbered;
  }

  /** A frame got the next number. */
  append(): void {
    this.#numbered++;
  }

  /** A frame was dropped before it got a number. */
  refuse(): void {
    this.#refused++;
  }

  /** The coordinator has `frames` frames of an earlier run that were in no count yet. */
  addAcked(frames: number): void {
    this.#numbered += frames;
    this.#acked += frames;
  }

  /** Held frames `first … last` go: dropped for `reason`, or else acknowledged. Rejected ones count as rejected. */
  release(first: number, last: number, reason?: string): void {
    let rest = last - first + 1;
    if (rest <= 0) return;
    for (const [seq, why] of this.#rejected) {
      if (seq < first || seq > last) continue;
      this.#rejected.delete(seq);
      this.#drop(why, 1);
      rest--;
    }
    if (reason === undefined) this.#acked += rest;
    else this.#drop(reason, rest);
  }

  /** The coordinator refused the held frame `seq`. */
  reject(seq: number, code: string): void {
    if (!this.#rejected.has(seq)) this.#rejected.set(seq, this.#rejectReason(code));
  }

  /** The counters without the `unwritten` youngest frames, which a kill would lose. */
  saved(unwritten: number): SavedCounts {
    return {
      numbered: this.#numbered - unwritten,
      acked: this.#acked,
      dropped: Object.fromEntries(this.#dropped),
      refused: this.#refused,
    };
  }

  /** The published counters, for a spool that holds `frames` frames in `bytes` bytes. */
  stats(frames: number, bytes: number): SpoolStats {
    const dropped: Record<string, number> = Object.fromEntries(this.#dropped);
    for (const reason of this.#rejected.values()) dropped[reason] = (dropped[reason] ?? 0) + 1;
    if (this.#refused > 0) dropped["spool_full"] = (dropped["spool_full"] ?? 0) + this.#refused;
    return {
      appended: this.#numbered + this.#refused,
      acked: this.#acked,
      held: frames - this.#rejected.size,
      heldBytes: bytes,
      dropped,
    };
  }

  #drop(reason: string, frames: number): void {
    if (frames > 0) this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + frames);
  }

  #rejectReason(code: string): string {
    const reason = `rejected:${code.slice(0, REJECT_CODE_LENGTH_MAX)}`;
    if (this.#rejectReasons.has(reason) || this.#dropped.has(reason)) return reason;
    if (this.#rejectReasons.size >= REJECT_CODES_MAX) return "rejected:other";
    this.#rejectReasons.add(reason);
    return reason;
  }
}

/** Frames without a fate: appended − acked − held − Σ dropped. Anything but 0 is a bug in the spool. (A16) */
export function imbalance({ appended, acked, held, dropped }: SpoolStats): number {
  return appended - acked - held - Object.values(dropped).reduce((sum, frames) => sum + frames, 0);
}
