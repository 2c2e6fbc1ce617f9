/** When a stream last had frames and sources, and how many frames per second its tracker accepts. Each Tracker has one. */
import type { Clock } from "@fleet/daemon";
import type { TrackerRow } from "./tracker-store.ts";

const RATE_WINDOW_S = 5;

/** The activity of one stream since its row was created. */
export class StreamActivity {
  /** Monotonic ms of the latest frame or of the last source's end; negative when that was before the host's start. */
  lastActiveMs: number;
  /** Unix ms at which the latest frame arrived. */
  lastFrameAtMs: number | null;
  #writtenFrameAtMs: number | null;
  readonly #clock: Clock;
  /** Frames accepted in all, once a second, oldest first. */
  readonly #samples: number[] = [];

  constructor(clock: Clock, { lastFrameAt, createdAt }: TrackerRow) {
    this.#clock = clock;
    this.lastFrameAtMs = lastFrameAt;
    this.#writtenFrameAtMs = lastFrameAt;
    const idleMs = clock.nowMs() - (lastFrameAt ?? createdAt);
    this.lastActiveMs = clock.monotonicMs() - Math.max(0, idleMs);
  }

  /** Frames per second over the last 5 s. */
  get framesPerS(): number {
    const [first = 0, last = 0] = [this.#samples[0], this.#samples.at(-1)];
    return (last - first) / Math.max(1, this.#samples.length - 1);
  }

  /** Notes that frames have arrived. */
  sawFrames(): void {
    this.lastFrameAtMs = this.#clock.nowMs();
    this.lastActiveMs = this.#clock.monotonicMs();
  }

  /** Notes that the last source has gone. */
  lostSources(): void {
    this.lastActiveMs = this.#clock.monotonicMs();
  }

  /** Takes a sample of the frames accepted in all. Called once a second. */
  sample(framesAccepted: number): void {
    this.#samples.push(framesAccepted);
    if (this.#samples.length > RATE_WINDOW_S + 1) this.#samples.shift();
  }

  /** Whether `lastFrameAtMs` has changed since the last call. */
  takeChange(): boolean {
    const hasChanged = this.lastFrameAtMs !== this.#writtenFrameAtMs;
    this.#writtenFrameAtMs = this.lastFrameAtMs;
    return hasChanged;
  }
}
