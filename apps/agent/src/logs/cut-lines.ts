/** Splits a byte stream into lines and cuts the long ones, so that their beginning is kept: a LineDecoder skips them whole. */

const LF = 10;
const CR = 13;

/** `bytes` are valid during the call only and have no line end; `cutBytes` more stood behind them. */
export type OnCutLine = (bytes: Uint8Array, cutBytes: number) => void;

/** Holds at most `bytesMax` bytes of an unfinished line, however long it grows. */
export class CutLines {
  readonly #carry: Uint8Array;
  #carried = 0;
  #cut = 0;

  constructor(bytesMax: number) {
    this.#carry = new Uint8Array(bytesMax);
  }

  push(chunk: Uint8Array, onLine: OnCutLine): void {
    let start = 0;
    for (;;) {
      const lf = chunk.indexOf(LF, start);
      if (lf < 0) break;
      this.#keep(chunk.subarray(start, lf));
      this.end(onLine, true);
      start = lf + 1;
    }
    this.#keep(chunk.subarray(start));
  }

  /** The stream has ended: gives what is left, unless that is nothing and no line was begun. */
  end(onLine: OnCutLine, wasTerminated = false): void {
    const { length } = this.#carry;
    const isCrLf = this.#cut === 0 && this.#carry[this.#carried - 1] === CR && this.#carried > 0;
    const line = this.#carry.subarray(0, Math.min(length, this.#carried - (isCrLf ? 1 : 0)));
    const cut = this.#cut;
    const isThere = this.#carried > 0 || wasTerminated;
    this.#carried = 0;
    this.#cut = 0;
    if (isThere) onLine(line, cut);
  }

  #keep(part: Uint8Array): void {
    const room = this.#carry.length - this.#carried;
    this.#carry.set(part.subarray(0, room), this.#carried);
    this.#carried += Math.min(room, part.length);
    this.#cut += Math.max(0, part.length - room);
  }
}
