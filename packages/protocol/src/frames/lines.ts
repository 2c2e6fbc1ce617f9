/** Splits byte streams into lines. No I/O: chunks come in by `push`, lines go out by callback. */

/** The longest line on the frame port and on a sensor's stdout, in bytes, LF included. */
export const LINE_BYTES_MAX = 1024 * 1024;

const LF = 10;
const CARRY_BYTES_MIN = 4096;

/**
 * Receives one line, `bytes[start..end)`, with its LF at `bytes[end]`. `bytes` is the pushed chunk itself when the line is
 * complete in it; for a line that was split over chunks it is a buffer that is only valid during the call.
 */
export type OnLine = (bytes: Uint8Array, start: number, end: number) => void;

/**
 * Splits a byte stream into LF-terminated lines of at most `lineBytesMax`, without copying those that are complete within
 * a chunk. A longer line is skipped to its LF and counted in `oversized`; it does not end the stream. (T1)
 */
export class LineDecoder {
  /** Lines skipped because they were longer than the limit. */
  oversized = 0;
  readonly #lineBytesMax: number;
  #carry = new Uint8Array(0);
  #carried = 0;
  #skipping = false;
  #isStopped = false;

  constructor(lineBytesMax: number = LINE_BYTES_MAX) {
    this.#lineBytesMax = lineBytesMax;
  }

  /** Bytes of the unfinished line at the end of what was pushed. */
  get pendingBytes(): number {
    return this.#carried;
  }

  /**
   * Reads a chunk, and calls `onLine` for each line that it completes, in order. For a line that is too long `onOversized` is
   * called instead, as soon as that is known.
   */
  push(chunk: Uint8Array, onLine: OnLine, onOversized?: () => void): void {
    if (this.#isStopped) return;
    let start = 0;
    if (this.#skipping || this.#carried > 0) {
      const lf = chunk.indexOf(LF);
      if (lf < 0) {
        this.#keep(chunk, 0, onOversized);
        return;
      }
      start = lf + 1;
      if (this.#skipping) this.#skipping = false;
      else this.#finish(chunk, lf, onLine, onOversized);
    }
    const max = this.#lineBytesMax;
    while (!this.#isStopped) {
      const lf = chunk.indexOf(LF, start);
      if (lf < 0) break;
      if (lf - start < max) onLine(chunk, start, lf);
      else this.#oversize(onOversized);
      start = lf + 1;
    }
    if (start < chunk.length) this.#keep(chunk, start, onOversized);
  }

  /** Calls back for no further line, not even of the chunk that is being read. For a peer that is not worth reading on. */
  stop(): void {
    this.#isStopped = true;
    this.reset();
  }

  /** Drops an unfinished line. */
  reset(): void {
    this.#carried = 0;
    this.#skipping = false;
  }

  #finish(chunk: Uint8Array, lf: number, onLine: OnLine, onOversized?: () => void): void {
    const end = this.#carried + lf;
    if (end >= this.#lineBytesMax) {
      this.#carried = 0;
      this.#oversize(onOversized);
      return;
    }
    this.#append(chunk.subarray(0, lf + 1));
    this.#carried = 0;
    onLine(this.#carry, 0, end);
  }

  #keep(chunk: Uint8Array, start: number, onOversized?: () => void): void {
    if (this.#skipping || this.#isStopped) return;
    if (this.#carried + chunk.length - start >= this.#lineBytesMax) {
      this.#skipping = true;
      this.#carried = 0;
      this.#oversize(onOversized);
      return;
    }
    this.#append(start === 0 ? chunk : chunk.subarray(start));
  }

  #oversize(onOversized?: () => void): void {
    this.oversized++;
    onOversized?.();
  }

  #append(part: Uint8Array): void {
    const needed = this.#carried + part.length;
    if (needed > this.#carry.length) {
      const grown = new Uint8Array(Math.max(CARRY_BYTES_MIN, 2 ** Math.ceil(Math.log2(needed))));
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(part, this.#carried);
    this.#carried = needed;
  }
}
