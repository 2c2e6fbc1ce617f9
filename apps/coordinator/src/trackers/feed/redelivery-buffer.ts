/**
 * What one tracker was given lately, whole lines in order: what it may not have read yet, and a little more, so that its
 * next run can be given it again. Small pieces are copied together; large ones are kept as they are. (T5)
 */
import { readFileSync } from "node:fs";

/** Kept beyond what is unread: more than a tracker reads at once and works on, and enough for its tracks to form again. */
export const KEEP_BYTES = 64 * 1024;
/** Kept for all trackers together, but for a little of each: when many of them read slowly they are given no more. */
export const TOTAL_BYTES_MAX = 128 * 1024 * 1024;
const FLOOR_BYTES = 256 * 1024;
/** What the two ends of a connection hold at most where the system does not tell: the sum of Linux's defaults, and more. */
const CONNECTION_BYTES = 16 * 1024 * 1024;

/** What is kept for all trackers that share it. */
export class RedeliveryBudget {
  bytes = 0;
  /** What a connection can hold unread: no history needs to be longer than this and KEEP_BYTES. */
  readonly connectionBytes: number;

  constructor(connectionBytes: number = connectionBytesMax()) {
    this.connectionBytes = connectionBytes;
  }
}

/** The most that the sending end may buffer, and the receiving end. (tcp(7): tcp_wmem, tcp_rmem) */
function connectionBytesMax(): number {
  try {
    const max = (name: string): number =>
      Number(readFileSync(`/proc/sys/net/ipv4/${name}`, "latin1").trim().split(/\s+/)[2]);
    const bytes = max("tcp_wmem") + max("tcp_rmem");
    return Number.isSafeInteger(bytes) ? bytes : CONNECTION_BYTES;
  } catch {
    return CONNECTION_BYTES;
  }
}

const BLOCK_BYTES = 8 * 1024;

/** Some of what was given. */
export interface Fed {
  readonly bytes: Uint8Array;
  readonly frames: number;
}

/** See the head of this file. */
export class RedeliveryBuffer {
  readonly #total: RedeliveryBudget;
  #blocks: Fed[] = [];
  #head = 0;
  #bytes = 0;
  /** What is being filled, the youngest of all. */
  #open = new Uint8Array(0);
  #openBytes = 0;
  #openFrames = 0;

  constructor(total: RedeliveryBudget) {
    this.#total = total;
  }

  /** Whether nothing more should be given until some of it is known to be read. */
  get isFull(): boolean {
    return this.#total.bytes >= TOTAL_BYTES_MAX && this.bytes >= FLOOR_BYTES;
  }

  /** Bytes kept. */
  get bytes(): number {
    return this.#bytes + this.#openBytes;
  }

  /** Notes whole lines as given. `bytes` must stay as they are. */
  add(bytes: Uint8Array, frames: number): void {
    if (bytes.length >= BLOCK_BYTES / 2) {
      this.#seal();
      this.#push({ bytes, frames });
    } else if (bytes.length > 0) {
      if (this.#openBytes + bytes.length > this.#open.length) this.#seal();
      if (this.#open.length === 0) this.#open = new Uint8Array(BLOCK_BYTES);
      this.#open.set(bytes, this.#openBytes);
      this.#openBytes += bytes.length;
      this.#openFrames += frames;
    }
    this.#total.bytes += bytes.length;
    // What a connection can't hold has been read.
    const max = this.#total.connectionBytes + KEEP_BYTES;
    if (this.bytes > max) this.trim(this.#total.connectionBytes);
  }

  /** Forgets what lies before the last `unreadBytes` and KEEP_BYTES more, by whole blocks. */
  trim(unreadBytes: number): void {
    const wanted = unreadBytes + KEEP_BYTES;
    this.#dropWhile((first) => this.bytes - first >= wanted);
  }

  /** Forgets the oldest beyond `bytesMax`, read or not. */
  bound(bytesMax: number): void {
    this.#dropWhile(() => this.bytes > bytesMax);
  }

  /** Gives all of it away, oldest first, and begins anew. */
  take(): readonly Fed[] {
    const taken = this.list();
    this.clear();
    return taken;
  }

  /** All of it, oldest first. */
  list(): readonly Fed[] {
    this.#seal();
    return this.#blocks.slice(this.#head);
  }

  clear(): void {
    this.#total.bytes -= this.bytes;
    this.#blocks = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#open = new Uint8Array(0);
    this.#openBytes = 0;
    this.#openFrames = 0;
  }

  #dropWhile(isTooMuch: (oldestBytes: number) => boolean): void {
    while (this.#head < this.#blocks.length) {
      const first = this.#blocks[this.#head]!.bytes.length;
      if (!isTooMuch(first)) break;
      this.#bytes -= first;
      this.#total.bytes -= first;
      this.#head++;
    }
    if (this.#head * 2 >= this.#blocks.length) {
      this.#blocks.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #seal(): void {
    if (this.#openBytes === 0) return;
    const bytes = this.#open.subarray(0, this.#openBytes);
    const frames = this.#openFrames;
    this.#open = new Uint8Array(0);
    this.#openBytes = 0;
    this.#openFrames = 0;
    this.#push({ bytes, frames });
  }

  #push(block: Fed): void {
    this.#blocks.push(block);
    this.#bytes += block.bytes.length;
  }
}
