/**
 * Where events go: stdout or a file, written in large pieces, one at a time, without ever blocking the process. What is
 * not yet written is counted, so that the reading of input can stop while it is too much. Owned by `session.ts`.
 *
 *   open → writing → open …      open | writing → failed (the reader has gone, the disk is full)
 */
import type { EventWriter } from "./track-event.ts";

/** No more events are made while more bytes than this wait to be written. */
const PENDING_BYTES_MAX = 512 * 1024;
const BUFFER_BYTES_MIN = 256 * 1024;
/** A UTF-16 unit takes at most this many bytes of UTF-8. */
const UTF8_BYTES_PER_CHAR = 3;

/** What bytes are written to; `Bun.FileSink` is one. */
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
  /** Called once, when writing has failed; what is written later is dropped. */
  onFailure: (cause: unknown) => void = () => {};

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Bytes not yet handed to the operating system. */
  get pendingBytes(): number {
    return this.#filled + this.#inFlightBytes;
  }

  get isFull(): boolean {
    return this.pendingBytes > PENDING_BYTES_MAX;
  }

  /** Adds bytes (copied). They are written once `pump` is called, or with those before them. */
  write(bytes: Uint8Array): void {
    if (this.#state.at === "failed") return;
    this.#reserve(bytes.length);
    this.#filling.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  /** Adds text, as UTF-8. */
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

  /** Starts writing what was added, unless that is already going on. */
  pump(): void {
    if (this.#state.at === "open" && this.#filled > 0) void this.#writeAll();
  }

  /** Resolves when the output is half empty, or has failed. */
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
        // The sink may keep the buffer until the flush is done, so two take turns.
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
