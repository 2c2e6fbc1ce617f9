/** Keeps the last bytes a process wrote to stderr, to explain its end in a log line or an answer. Owners fill it from `onStderr`. */

const FIRST_CAPACITY = 1024;
const LF = 0x0a;

/** A ring buffer of the last `bytesMax` (≥ 1) bytes. Memory grows on demand up to that size. */
export class StderrRing {
  readonly #bytesMax: number;
  #buffer = new Uint8Array(0);
  /** Index of the oldest byte; 0 until the buffer has its full size. */
  #start = 0;
  #length = 0;
  #droppedBytes = 0;

  constructor(bytesMax: number) {
    if (!Number.isInteger(bytesMax) || bytesMax < 1)
      throw new RangeError(`bytesMax must be an integer of at least 1, not ${bytesMax}`);
    this.#bytesMax = bytesMax;
  }

  /** Number of pushed bytes that are no longer held. */
  get droppedBytes(): number {
    return this.#droppedBytes;
  }

  push(chunk: Uint8Array): void {
    const kept = chunk.subarray(Math.max(0, chunk.byteLength - this.#bytesMax));
    const lost = Math.max(0, this.#length + chunk.byteLength - this.#bytesMax);
    this.#droppedBytes += lost;
    this.#grow(Math.min(this.#bytesMax, this.#length + kept.byteLength));
    const capacity = this.#buffer.byteLength;
    const at = (this.#start + this.#length) % Math.max(1, capacity);
    const head = kept.subarray(0, capacity - at);
    this.#buffer.set(head, at);
    this.#buffer.set(kept.subarray(head.byteLength), 0);
    const over = Math.max(0, this.#length + kept.byteLength - capacity);
    this.#length += kept.byteLength - over;
    this.#start = (this.#start + over) % Math.max(1, capacity);
  }

  /** A copy of the held bytes, oldest first. */
  bytes(): Uint8Array {
    const copy = new Uint8Array(this.#length);
    const head = this.#buffer.subarray(this.#start, this.#start + this.#length);
    copy.set(head);
    copy.set(this.#buffer.subarray(0, this.#length - head.byteLength), head.byteLength);
    return copy;
  }

  /** The held bytes as text, starting at the first complete line if older bytes were dropped. Invalid UTF-8 becomes U+FFFD. */
  text(): string {
    const bytes = this.bytes();
    const firstLf = this.#droppedBytes === 0 ? -1 : bytes.indexOf(LF);
    const cut = firstLf === bytes.byteLength - 1 ? -1 : firstLf;
    return new TextDecoder().decode(bytes.subarray(cut + 1));
  }

  /** The last `countMax` lines of `text()`, without line terminators. */
  lines(countMax: number): string[] {
    const lines = this.text().split("\n");
    if (lines.at(-1) === "") lines.pop();
    return lines.slice(Math.max(0, lines.length - countMax));
  }

  /** Discards everything, for the next run. */
  clear(): void {
    this.#buffer = new Uint8Array(0);
    this.#start = 0;
    this.#length = 0;
    this.#droppedBytes = 0;
  }

  #grow(needed: number): void {
    const capacity = this.#buffer.byteLength;
    if (needed <= capacity) return;
    const doubled = Math.max(FIRST_CAPACITY, capacity * 2, needed);
    const grown = new Uint8Array(Math.min(this.#bytesMax, doubled));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}
