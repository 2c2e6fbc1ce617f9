/**
 * A spool in memory: the youngest part of every sensor's (disk-spool.ts). Frames lie one after the other in segments, so
 * reading a run of them copies nothing; every operation takes constant time a frame, amortised.
 */
import type { SpoolId } from "@fleet/protocol";
import { newSpoolId, type Spool, type SpoolChunk, type SpoolStats } from "./spool.ts";

const LF = 10;
const SEGMENT_BYTES = 256 * 1024;
/** An idle sensor should not hold a whole segment: the first one starts small and doubles. */
const SEGMENT_BYTES_MIN = 4096;
/** Most different codes of rejected frames that are counted apart; the rest are `rejected:other`. */
const REJECT_CODES_MAX = 16;
const REJECT_CODE_LENGTH_MAX = 40;

/** Frames `firstSeq … firstSeq + ends.length − 1`; frame i ends, LF included, at `ends[i]` in `bytes`. */
interface Segment {
  readonly firstSeq: number;
  bytes: Uint8Array;
  readonly ends: number[];
}

/** How a memory spool is set up. `bytesMax` bounds the frames held, LFs included. */
export interface MemorySpoolOptions {
  readonly spoolId: SpoolId;
  readonly bytesMax: number;
  readonly segmentBytes?: number;
  /** The number of the first frame; 1 by default. */
  readonly firstSeq?: number;
}

/** Holds the youngest `bytesMax` bytes of unacknowledged frames, and always at least the youngest frame. (A16) */
export class MemorySpool implements Spool {
  #spoolId: SpoolId;
  readonly #bytesMax: number;
  readonly #segmentBytes: number;
  /** Oldest first. Only the last one is written to. */
  readonly #segments: Segment[] = [];
  /** Frames of the first segment that are gone already. */
  #gone = 0;
  /** Memory of the segment that was emptied last, for the next one. */
  #spare: Uint8Array | undefined;
  #heldBytes = 0;
  #firstSeq: number;
  #nextSeq: number;
  #appended = 0;
  #acked = 0;
  readonly #dropped = new Map<string, number>();
  /** Held frames that the coordinator rejected, with the reason they will be counted under. */
  readonly #rejected = new Map<number, string>();
  readonly #rejectReasons = new Set<string>();
  #listener: () => void = () => {};

  constructor(options: MemorySpoolOptions) {
    this.#spoolId = options.spoolId;
    this.#bytesMax = options.bytesMax;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#firstSeq = options.firstSeq ?? 1;
    this.#nextSeq = this.#firstSeq;
  }

  get spoolId(): SpoolId {
    return this.#spoolId;
  }

  get firstSeq(): number {
    return this.#firstSeq;
  }

  get nextSeq(): number {
    return this.#nextSeq;
  }

  get held(): number {
    return this.#nextSeq - this.#firstSeq;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  onAppend(listener: () => void): void {
    this.#listener = listener;
  }

  append(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start + 1;
    const segment = this.#segmentFor(length);
    const at = usedBytes(segment);
    segment.bytes.set(bytes.subarray(start, end), at);
    segment.bytes[at + length - 1] = LF;
    segment.ends.push(at + length);
    this.#nextSeq++;
    this.#appended++;
    this.#heldBytes += length;
    while (this.#heldBytes > this.#bytesMax && this.#nextSeq - this.#firstSeq > 1)
      this.#release("spool_full");
    this.#listener();
  }

  read(fromSeq: number, bytesMax: number): SpoolChunk | undefined {
    const first = Math.max(fromSeq, this.#firstSeq);
    if (first >= this.#nextSeq) return undefined;
    const segment = this.#segmentOf(first);
    const { ends } = segment;
    const index = first - segment.firstSeq;
    const start = index === 0 ? 0 : ends[index - 1]!;
    const last = lastWithin(ends, index, start + bytesMax);
    return {
      firstSeq: first,
      lastSeq: segment.firstSeq + last,
      bytes: segment.bytes.subarray(start, ends[last]),
    };
  }

  ack(seq: number): void {
    const last = Math.min(seq, this.#nextSeq - 1);
    while (this.#firstSeq <= last) this.#release(undefined);
  }

  reject(seq: number, code: string): void {
    if (seq < this.#firstSeq || seq >= this.#nextSeq || this.#rejected.has(seq)) return;
    this.#rejected.set(seq, this.#rejectReason(code));
  }

  stats(): SpoolStats {
    const dropped: Record<string, number> = Object.fromEntries(this.#dropped);
    for (const reason of this.#rejected.values()) dropped[reason] = (dropped[reason] ?? 0) + 1;
    return {
      appended: this.#appended,
      acked: this.#acked,
      held: this.#nextSeq - this.#firstSeq - this.#rejected.size,
      heldBytes: this.#heldBytes,
      dropped,
    };
  }

  room(): undefined {
    return undefined;
  }

  resume(acked: number): boolean {
    if (acked < this.#nextSeq) return true;
    this.#spoolId = newSpoolId();
    return false;
  }

  /** Lets the oldest frame go: dropped for `reason`, or else acked, unless it was rejected before. */
  #release(reason: string | undefined): void {
    const segment = this.#segments[0]!;
    const index = this.#gone;
    const start = index === 0 ? 0 : segment.ends[index - 1]!;
    this.#heldBytes -= segment.ends[index]! - start;
    const why = this.#takeRejected(this.#firstSeq) ?? reason;
    if (why === undefined) this.#acked++;
    else this.#dropped.set(why, (this.#dropped.get(why) ?? 0) + 1);
    this.#firstSeq++;
    this.#gone++;
    if (this.#gone < segment.ends.length) return;
    this.#segments.shift();
    this.#gone = 0;
    if (segment.bytes.length <= this.#segmentBytes) this.#spare = segment.bytes;
  }

  #takeRejected(seq: number): string | undefined {
    if (this.#rejected.size === 0) return undefined;
    const reason = this.#rejected.get(seq);
    this.#rejected.delete(seq);
    return reason;
  }

  #rejectReason(code: string): string {
    const reason = `rejected:${code.slice(0, REJECT_CODE_LENGTH_MAX)}`;
    if (this.#rejectReasons.has(reason)) return reason;
    if (this.#rejectReasons.size >= REJECT_CODES_MAX) return "rejected:other";
    this.#rejectReasons.add(reason);
    return reason;
  }

  /** The last segment, made big enough for `length` more bytes, or a new one. */
  #segmentFor(length: number): Segment {
    const last = this.#segments.at(-1);
    if (last !== undefined) {
      const needed = usedBytes(last) + length;
      if (needed <= last.bytes.length) return last;
      if (needed <= this.#segmentBytes) {
        const grown = new Uint8Array(
          Math.min(this.#segmentBytes, 2 ** Math.ceil(Math.log2(needed))),
        );
        grown.set(last.bytes.subarray(0, usedBytes(last)));
        last.bytes = grown;
        return last;
      }
    }
    const segment = { firstSeq: this.#nextSeq, bytes: this.#memoryFor(length), ends: [] };
    this.#segments.push(segment);
    return segment;
  }

  #memoryFor(length: number): Uint8Array {
    const spare = this.#spare;
    if (spare !== undefined && spare.length >= length) {
      this.#spare = undefined;
      return spare;
    }
    const isFirst = this.#segments.length === 0;
    const size = isFirst ? Math.min(SEGMENT_BYTES_MIN, this.#segmentBytes) : this.#segmentBytes;
    return new Uint8Array(Math.max(size, length));
  }

  #segmentOf(seq: number): Segment {
    let low = 0;
    let high = this.#segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#segments[middle]!.firstSeq <= seq) low = middle;
      else high = middle - 1;
    }
    return this.#segments[low]!;
  }
}

function usedBytes(segment: Segment): number {
  return segment.ends.length === 0 ? 0 : segment.ends[segment.ends.length - 1]!;
}

/** The last index ≥ `from` whose end is at most `limit`, or `from` when not even that one is. */
function lastWithin(ends: readonly number[], from: number, limit: number): number {
  let low = from;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (ends[middle]! <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}
