/** Splits a byte stream into lines and truncates long ones, where a LineDecoder would skip them. Used by SensorLog. */

const LF = 10;
const CR = 13;

/** `bytes` has no line end and is valid only during the call; `cutBytes` further bytes were cut off. */
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

  /** Ends the stream: passes on an unfinished line, if there is one. */
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
