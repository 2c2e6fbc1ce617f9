/** The last bytes a process wrote to stderr, for the log line or the answer that says why it died. Owners feed it from `onStderr`. */

const FIRST_CAPACITY = 1024;
const LF = 0x0a;

/** Keeps the last `bytesMax` bytes (≥ 1) pushed; memory grows with what is pushed up to that, however small the pieces. */
export class StderrRing {
  readonly #bytesMax: number;
  #buffer = new Uint8Array(0);
  /** Where the oldest byte lies. Always 0 until the buffer has its full size. */
  #start = 0;
  #length = 0;
  #droppedBytes = 0;

  constructor(bytesMax: number) {
    if (!Number.isInteger(bytesMax) || bytesMax < 1)
      throw new RangeError(`bytesMax must be an integer of at least 1, not ${bytesMax}`);
    this.#bytesMax = bytesMax;
  }

  /** How many bytes were pushed and are no longer held. */
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

  /** What is held, oldest first: a copy. */
  bytes(): Uint8Array {
    const copy = new Uint8Array(this.#length);
    const head = this.#buffer.subarray(this.#start, this.#start + this.#length);
    copy.set(head);
    copy.set(this.#buffer.subarray(0, this.#length - head.byteLength), head.byteLength);
    return copy;
  }

  /** What is held as text, from the first whole line when older bytes were dropped. Bytes that are not UTF-8 become U+FFFD. */
  text(): string {
    const bytes = this.bytes();
    const firstLf = this.#droppedBytes === 0 ? -1 : bytes.indexOf(LF);
    const cut = firstLf === bytes.byteLength - 1 ? -1 : firstLf;
    return new TextDecoder().decode(bytes.subarray(cut + 1));
  }

  /** The last `countMax` lines of `text()`, without their line ends. */
  lines(countMax: number): string[] {
    const lines = this.text().split("\n");
    if (lines.at(-1) === "") lines.pop();
    return lines.slice(Math.max(0, lines.length - countMax));
  }

  /** Forgets everything; for the start of another run. */
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
