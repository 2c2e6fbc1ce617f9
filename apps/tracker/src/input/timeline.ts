/**
 * Computes the time between consecutive frames from timestamps that may repeat, arrive late, jump back or pause for minutes.
 * Owned by `tracker.ts`.
 */

/** A frame older than its predecessor by at most this much is late and skipped; by more, the clock was set back. */
const LATE_MS_MAX = 2000;
/** After a longer silence, tracks cannot be continued. */
const SILENCE_MS_MAX = 30_000;
/** The frame interval assumed before the second frame. */
const INTERVAL_MS_DEFAULT = 500;

/** The interpretation of a timestamp. */
export type Step =
  /** `elapsedMs` ≥ 0 since the previous frame; 0 for the first frame. */
  | { readonly is: "step"; readonly elapsedMs: number }
  /** The clock was set back; `elapsedMs` is the previous frame interval. */
  | { readonly is: "set_back"; readonly elapsedMs: number }
  /** No frame arrived for `elapsedMs`, too long to continue tracks. */
  | { readonly is: "silence"; readonly elapsedMs: number }
  /** The frame must be skipped: its timestamp equals that of the previous frame, or is older. */
  | { readonly is: "duplicate" | "late" };

export class Timeline {
  #lastMs: number | undefined;
  #intervalMs = INTERVAL_MS_DEFAULT;

  /** The time between the two latest frames, ms. */
  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** Interprets the timestamp of the next frame, Unix ms. */
  advance(timestampMs: number): Step {
    const lastMs = this.#lastMs ?? timestampMs;
    const isFirst = this.#lastMs === undefined;
    const elapsedMs = timestampMs - lastMs;
    if (elapsedMs === 0 && !isFirst) return { is: "duplicate" };
    if (elapsedMs < 0 && elapsedMs >= -LATE_MS_MAX) return { is: "late" };
    this.#lastMs = timestampMs;
    if (isFirst) return { is: "step", elapsedMs: 0 };
    if (elapsedMs < 0) return { is: "set_back", elapsedMs: this.#intervalMs };
    if (elapsedMs > SILENCE_MS_MAX) return { is: "silence", elapsedMs };
    this.#intervalMs = elapsedMs;
    return { is: "step", elapsedMs };
  }
}
