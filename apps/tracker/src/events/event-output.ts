/**
 * Writes events to stdout or a file, asynchronously and in large chunks. It counts unwritten bytes, so that reading of input
 * can pause while there are too many. Owned by `session.ts`.
 *
 *   open → writing → open …      open | writing → failed (the pipe is closed, the disk is full)
 */
import type { EventWriter } from "./track-event.ts";

/** The output is full above this number of unwritten bytes. */
const PENDING_BYTES_MAX = 512 * 1024;
const BUFFER_BYTES_MIN = 256 * 1024;
/** A UTF-16 code unit takes at most this many bytes in UTF-8. */
const UTF8_BYTES_PER_CHAR = 3;

/** The destination of the bytes, implemented by `Bun.FileSink`. */
export interface ByteSink {
  write(bytes: Uint8Array): number | Promise<number>;
  flush(): number | Promise<number>;
}

type State =
  | { readonly at: "open" }
  | { readonly at: "writing" }
  | { readonly at: "failed"; readonly cause: unknown };

export class EventOutput implements EventWriter {
  readonly #sink: ByteSink;
  #state: State = { at: "open" };
  #filling = Buffer.allocUnsafe(BUFFER_BYTES_MIN);
  #filled = 0;
  #spare = Buffer.allocUnsafe(BUFFER_BYTES_MIN);
  #inFlightBytes = 0;
  #waiters: (() => void)[] = [];
  /** Called once, when writing has failed; later writes are discarded. */
  onFailure: (cause: unknown) => void = () => {};

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Bytes not passed to the operating system yet. */
  get pendingBytes(): number {
    return this.#filled + this.#inFlightBytes;
  }

  get isFull(): boolean {
    return this.pendingBytes > PENDING_BYTES_MAX;
  }

  /** Appends a copy of the bytes. They are written after a call of `pump`, or together with earlier ones. */
  write(bytes: Uint8Array): void {
    if (this.#state.at === "failed") return;
    this.#reserve(bytes.length);
    this.#filling.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  /** Appends text as UTF-8. */
  writeText(text: string): void {
    if (this.#state.at === "failed") return;
    this.#reserve(text.length * UTF8_BYTES_PER_CHAR);
    this.#filled += this.#filling.write(text, this.#filled);
  }

  #reserve(extra: number): void {
    const needed = this.#filled + extra;
    if (needed <= this.#filling.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#filling.length * 2, needed));
    grown.set(this.#filling.subarray(0, this.#filled));
    this.#filling = grown;
  }

  /** Starts writing the appended bytes, unless a write is in progress. */
  pump(): void {
    if (this.#state.at === "open" && this.#filled > 0) void this.#writeAll();
  }

  /** Resolves when at most half of the limit is unwritten, or writing has failed. */
  untilDrained(): Promise<void> {
    return this.#untilPending(PENDING_BYTES_MAX / 2);
  }

  /** Resolves when everything is written, or writing has failed. */
  untilEmpty(): Promise<void> {
    return this.#untilPending(0);
  }

  #untilPending(bytes: number): Promise<void> {
    this.pump();
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.#state.at === "failed" || this.pendingBytes <= bytes) resolve();
        else this.#waiters.push(check);
      };
      check();
    });
  }

  async #writeAll(): Promise<void> {
    this.#state = { at: "writing" };
    try {
      while (this.#filled > 0) {
        // The sink may use the buffer until the flush is done, so two buffers alternate.
        const buffer = this.#filling;
        const bytes = buffer.subarray(0, this.#filled);
        this.#inFlightBytes = this.#filled;
        this.#filling = this.#spare;
        this.#filled = 0;
        await this.#sink.write(bytes);
        await this.#sink.flush();
        this.#spare = buffer;
        this.#inFlightBytes = 0;
        this.#wake();
      }
      this.#state = { at: "open" };
    } catch (cause) {
      this.#state = { at: "failed", cause };
      this.#filled = 0;
      this.#inFlightBytes = 0;
      this.onFailure(cause);
    }
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }
}
