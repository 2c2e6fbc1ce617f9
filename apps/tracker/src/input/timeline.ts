/**
 * How much time lies between a frame and the one before, from timestamps that may repeat, come late, be set back or stop
 * for minutes. Owned by `tracker.ts`.
 */

/** A frame at most this much older than its predecessor is late and skipped; an older one means the clock was set back. */
const LATE_MS_MAX = 2000;
/** After a longer silence nothing is where it was. */
const SILENCE_MS_MAX = 30_000;
/** The frame interval assumed until one was seen. */
const INTERVAL_MS_DEFAULT = 500;

/** What a timestamp means. */
export type Step =
  /** `elapsedMs` ≥ 0 have passed; 0 for the first frame. */
  | { readonly is: "step"; readonly elapsedMs: number }
  /** The clock was set back; frames are taken to come at their own pace still. */
  | { readonly is: "set_back"; readonly elapsedMs: number }
  /** No frame came for `elapsedMs`, too long for tracks to be continued. */
  | { readonly is: "silence"; readonly elapsedMs: number }
  /** To be skipped: it has the timestamp of the frame before, or an older one. */
  | { readonly is: "duplicate" | "late" };

export class Timeline {
  #lastMs: number | undefined;
  #intervalMs = INTERVAL_MS_DEFAULT;

  /** The time between the latest frames, ms. */
  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** Takes the next frame's timestamp, ms Unix. */
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
