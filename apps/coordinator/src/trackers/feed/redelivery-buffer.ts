/**
 * What the current run of one tracker was sent and may not have worked on, so that the next run can be sent it again. It
 * holds whole lines in order: those the tracker has not read, and KEEP_BYTES before them. FrameQueue owns one. (T5)
 */
import { readFileSync } from "node:fs";

/** Kept beyond what is unread: more than a tracker reads and works on at a time, and enough for its tracks to form again. */
export const KEEP_BYTES = 64 * 1024;
/** Kept for all trackers together. Beyond it, a tracker that holds FLOOR_BYTES is sent nothing until it reads. */
export const TOTAL_BYTES_MAX = 128 * 1024 * 1024;
const FLOOR_BYTES = 256 * 1024;
/** What both ends of a connection hold when the system does not report it: more than the sum of Linux's defaults. */
const CONNECTION_BYTES = 16 * 1024 * 1024;
/** Small pieces are copied together into blocks of this size; large pieces are kept as they are. */
const BLOCK_BYTES = 8 * 1024;

/** The memory that the buffers of all trackers share. */
export class RedeliveryBudget {
  /** Bytes kept in all. */
  bytes = 0;
  /** The most bytes that a connection holds unread; no buffer needs more than this and KEEP_BYTES. */
  readonly connectionBytes: number;

  constructor(connectionBytes: number = readConnectionBytesMax()) {
    this.connectionBytes = connectionBytes;
  }
}

/** The largest send buffer and the largest receive buffer of a TCP socket. (tcp(7): tcp_wmem, tcp_rmem) */
function readConnectionBytesMax(): number {
  try {
    const max = (name: string): number =>
      Number(readFileSync(`/proc/sys/net/ipv4/${name}`, "latin1").trim().split(/\s+/)[2]);
    const bytes = max("tcp_wmem") + max("tcp_rmem");
    return Number.isSafeInteger(bytes) ? bytes : CONNECTION_BYTES;
  } catch {
    return CONNECTION_BYTES;
  }
}

/** Lines that were sent to a tracker. */
export interface SentLines {
  readonly bytes: Uint8Array;
  readonly frames: number;
}

/** The lines that one tracker's next run is sent again. */
export class RedeliveryBuffer {
  readonly #budget: RedeliveryBudget;
  #blocks: SentLines[] = [];
  #head = 0;
  /** Bytes of all blocks but the open one. */
  #bytes = 0;
  /** The youngest block, which small pieces are copied into. */
  #open = new Uint8Array(0);
  #openBytes = 0;
  #openFrames = 0;

  constructor(budget: RedeliveryBudget) {
    this.#budget = budget;
  }

  /** Whether nothing more should be sent until the tracker has read some of it. */
  get isFull(): boolean {
    return this.#budget.bytes >= TOTAL_BYTES_MAX && this.bytes >= FLOOR_BYTES;
  }

  /** Bytes kept. */
  get bytes(): number {
    return this.#bytes + this.#openBytes;
  }

  /** Keeps whole lines that were sent. `bytes` must not change. */
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
    this.#budget.bytes += bytes.length;
    // What does not fit into the connection has been read.
    const max = this.#budget.connectionBytes + KEEP_BYTES;
    if (this.bytes > max) this.trim(this.#budget.connectionBytes);
  }

  /** Drops whole blocks that lie before the last `unreadBytes` and KEEP_BYTES more. */
  trim(unreadBytes: number): void {
    const wanted = unreadBytes + KEEP_BYTES;
    this.#dropWhile((oldestBytes) => this.bytes - oldestBytes >= wanted);
  }

  /** Drops the oldest blocks beyond `bytesMax`, read or not. */
  bound(bytesMax: number): void {
    this.#dropWhile(() => this.bytes > bytesMax);
  }

  /** Returns everything, oldest first, and leaves the buffer empty. */
  take(): readonly SentLines[] {
    const taken = this.list();
    this.clear();
    return taken;
  }

  /** Everything, oldest first. */
  list(): readonly SentLines[] {
    this.#seal();
    return this.#blocks.slice(this.#head);
  }

  clear(): void {
    this.#budget.bytes -= this.bytes;
    this.#blocks = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#open = new Uint8Array(0);
    this.#openBytes = 0;
    this.#openFrames = 0;
  }

  #dropWhile(isTooMuch: (oldestBytes: number) => boolean): void {
    while (this.#head < this.#blocks.length) {
      const oldestBytes = this.#blocks[this.#head]!.bytes.length;
      if (!isTooMuch(oldestBytes)) break;
      this.#bytes -= oldestBytes;
      this.#budget.bytes -= oldestBytes;
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

  #push(block: SentLines): void {
    this.#blocks.push(block);
    this.#bytes += block.bytes.length;
  }
}
