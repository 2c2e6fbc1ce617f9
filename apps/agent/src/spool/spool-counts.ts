/** The books of a spool: how many frames were acknowledged, and how many were dropped for which reason. (A16) */

/** Most different codes of rejected frames that are counted apart; the rest are `rejected:other`. */
const REJECT_CODES_MAX = 16;
const REJECT_CODE_LENGTH_MAX = 40;

/** Frames are counted when the spool lets them go; a rejected one already when that is known. */
export class SpoolCounts {
  acked = 0;
  /** Of all frames that were ever numbered. */
  readonly dropped = new Map<string, number>();
  /** Held frames that the coordinator rejected, with the reason they will be counted under. */
  readonly #rejected = new Map<number, string>();
  readonly #rejectReasons = new Set<string>();

  /** Frames `first … last` go, for `reason`, or else acknowledged; those that were rejected before for that. */
  release(first: number, last: number, reason?: string): void {
    let rest = last - first + 1;
    if (rest <= 0) return;
    for (const [seq, why] of this.#rejected) {
      if (seq < first || seq > last) continue;
      this.#rejected.delete(seq);
      this.drop(why, 1);
      rest--;
    }
    if (reason === undefined) this.acked += rest;
    else this.drop(reason, rest);
  }

  reject(seq: number, code: string): void {
    if (!this.#rejected.has(seq)) this.#rejected.set(seq, this.#rejectReason(code));
  }

  drop(reason: string, frames: number): void {
    if (frames > 0) this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + frames);
  }

  /** Held frames that will not be counted as acknowledged. */
  get rejected(): number {
    return this.#rejected.size;
  }

  /** By reason, rejected ones that are still held included. */
  droppedByReason(): Record<string, number> {
    const dropped: Record<string, number> = Object.fromEntries(this.dropped);
    for (const reason of this.#rejected.values()) dropped[reason] = (dropped[reason] ?? 0) + 1;
    return dropped;
  }

  #rejectReason(code: string): string {
    const reason = `rejected:${code.slice(0, REJECT_CODE_LENGTH_MAX)}`;
    if (this.#rejectReasons.has(reason) || this.dropped.has(reason)) return reason;
    if (this.#rejectReasons.size >= REJECT_CODES_MAX) return "rejected:other";
    this.#rejectReasons.add(reason);
    return reason;
  }
}
