/** Writes a block of ready-made messages over and over, no further ahead of the acknowledgements than a window allows. */

/** Messages one after the other, and where each ends. */
export interface Block {
  readonly bytes: Uint8Array;
  readonly ends: readonly number[];
}

/** Where the bytes go: the part of a Bun socket that is used here. */
interface Out {
  write(bytes: Uint8Array, offset: number, length: number): number;
}

/** The sending half of one stream. Positions count bytes from the start of the first repeat. */
export class Pump {
  readonly #block: Block;
  readonly #totalBytes: number;
  readonly #messages: number;
  #sent = 0;
  #limit = 0;

  constructor(block: Block, repeats: number) {
    this.#block = block;
    this.#totalBytes = block.bytes.length * repeats;
    this.#messages = block.ends.length * repeats;
  }

  /** Allows this many bytes beyond the first `acked` messages. */
  allowBytes(acked: number, bytes: number): void {
    this.#limit = this.#position(acked) + bytes;
  }

  /** Allows this many messages beyond the first `acked`. */
  allowMessages(acked: number, messages: number): void {
    this.#limit = this.#position(Math.min(this.#messages, acked + messages));
  }

  /** Whether every message has been acknowledged. */
  isDone(acked: number): boolean {
    return acked >= this.#messages;
  }

  /** Whether every message has been written. */
  get written(): boolean {
    return this.#sent === this.#totalBytes;
  }

  /** Writes what is allowed and fits; called again when the limit has moved or the socket has drained. */
  pump(out: Out): void {
    const { bytes } = this.#block;
    const end = Math.min(this.#limit, this.#totalBytes);
    while (this.#sent < end) {
      const offset = this.#sent % bytes.length;
      const length = Math.min(bytes.length - offset, end - this.#sent);
      const written = out.write(bytes, offset, length);
      if (written > 0) this.#sent += written;
      if (written < length) return;
    }
  }

  #position(messages: number): number {
    const { bytes, ends } = this.#block;
    const last = messages % ends.length;
    return Math.floor(messages / ends.length) * bytes.length + (last === 0 ? 0 : ends[last - 1]!);
  }
}
