/** Writes a block of prepared messages repeatedly, within a window beyond the acknowledged ones. */

/** Concatenated messages, and the offset at which each ends. */
export interface Block {
  readonly bytes: Uint8Array;
  readonly ends: readonly number[];
}

/** The part of a Bun socket that is used here. */
interface Out {
  write(bytes: Uint8Array, offset: number, length: number): number;
}

/** The sender of one stream. Positions are in bytes from the start of the first repeat. */
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
  get isWritten(): boolean {
    return this.#sent === this.#totalBytes;
  }

  /** Writes as much as the window allows and the socket takes. Call it again when either changes. */
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
