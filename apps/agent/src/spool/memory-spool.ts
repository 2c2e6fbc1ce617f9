/**
 * A spool in memory: the youngest part of every sensor's (disk-spool.ts). Frames lie one after the other in segments, so
 * reading a run of them copies nothing; every operation takes constant time a frame, amortised.
 */
import type { SpoolId } from "@fleet/protocol";
import { SpoolCounts } from "./spool-counts.ts";
import { newSpoolId, type Spool, type SpoolChunk, type SpoolStats } from "./spool.ts";

const LF = 10;
const SEGMENT_BYTES = 256 * 1024;
/** An idle sensor should not hold a whole segment: the first one starts small and doubles. */
const SEGMENT_BYTES_MIN = 4096;
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
  /** How much of what it has let go it keeps; nothing by default. */
  readonly keepBytesMax?: number;
}

/** Holds the youngest `bytesMax` bytes of unacknowledged frames, and always at least the youngest frame. (A16) */
export class MemorySpool implements Spool {
  #spoolId: SpoolId;
  readonly #bytesMax: number;
  readonly #segmentBytes: number;
  readonly #keepBytesMax: number;
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
  readonly #counts = new SpoolCounts();
  /** Segments that are gone, oldest first, and the memory they take. */
  readonly #kept: Segment[] = [];
  #keptBytes = 0;
  #listener: () => void = () => {};

  constructor(options: MemorySpoolOptions) {
    this.#spoolId = options.spoolId;
    this.#bytesMax = options.bytesMax;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#keepBytesMax = options.keepBytesMax ?? 0;
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
    while (this.#heldBytes > this.#bytesMax && this.held > 1)
      this.#letGo(this.#firstSeq, "spool_full");
    this.#listener();
  }

  read(fromSeq: number, bytesMax: number): SpoolChunk | undefined {
    const first = Math.max(fromSeq, this.#firstSeq);
    if (first >= this.#nextSeq) return undefined;
    const segment = this.#segmentOf(first);
    return chunkOf(segment, first, segment.firstSeq + segment.ends.length - 1, bytesMax);
  }

  ack(seq: number): void {
    this.#letGo(Math.min(seq, this.#nextSeq - 1));
  }

  reject(seq: number, code: string): void {
    if (seq >= this.#firstSeq && seq < this.#nextSeq) this.#counts.reject(seq, code);
  }

  stats(): SpoolStats {
    return {
      appended: this.#appended,
      acked: this.#counts.acked,
      held: this.held - this.#counts.rejected,
      heldBytes: this.#heldBytes,
      dropped: this.#counts.droppedByReason(),
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

  /** As `read`, of frames below `belowSeq` that it has let go and still keeps. */
  readKept(fromSeq: number, belowSeq: number, bytesMax: number): SpoolChunk | undefined {
    const below = Math.min(belowSeq, this.#firstSeq);
    const gone = [...this.#kept, ...this.#segments.slice(0, this.#gone > 0 ? 1 : 0)];
    const segment = gone.find(({ firstSeq, ends }) => firstSeq + ends.length > fromSeq);
    if (segment === undefined) return undefined;
    const first = Math.max(fromSeq, segment.firstSeq);
    if (first >= below) return undefined;
    return chunkOf(
      segment,
      first,
      Math.min(below, segment.firstSeq + segment.ends.length) - 1,
      bytesMax,
    );
  }

  /** Lets the oldest frames go, up to `last`: dropped for `reason`, or else acked, unless they were rejected before. */
  #letGo(last: number, reason?: string): void {
    this.#counts.release(this.#firstSeq, last, reason);
    while (this.#firstSeq <= last) {
      const segment = this.#segments[0]!;
      const { firstSeq, ends } = segment;
      const start = this.#gone === 0 ? 0 : ends[this.#gone - 1]!;
      this.#gone = Math.min(ends.length, last - firstSeq + 1);
      this.#heldBytes -= ends[this.#gone - 1]! - start;
      this.#firstSeq = firstSeq + this.#gone;
      if (this.#gone < ends.length) return;
      this.#segments.shift();
      this.#gone = 0;
      this.#keep(segment);
    }
  }

  /** Keeps the youngest segments that are gone; the memory of one that isn't kept serves the next. */
  #keep(segment: Segment): void {
    const used = usedBytes(segment);
    if (used <= this.#keepBytesMax && used < segment.bytes.length / 2) {
      this.#recycle(segment.bytes);
      segment.bytes = segment.bytes.slice(0, used);
    }
    this.#kept.push(segment);
    this.#keptBytes += segment.bytes.length;
    while (this.#keptBytes > this.#keepBytesMax) {
      const { bytes } = this.#kept.shift()!;
      this.#keptBytes -= bytes.length;
      this.#recycle(bytes);
    }
  }

  #recycle(bytes: Uint8Array): void {
    if (bytes.length >= SEGMENT_BYTES_MIN && bytes.length <= this.#segmentBytes)
      this.#spare = bytes;
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

/** Frames `first … last` of a segment, as many of them as `bytesMax` allows, but at least one. */
function chunkOf(segment: Segment, first: number, last: number, bytesMax: number): SpoolChunk {
  const { firstSeq, bytes, ends } = segment;
  const index = first - firstSeq;
  const start = index === 0 ? 0 : ends[index - 1]!;
  const end = lastWithin(ends, index, last - firstSeq, start + bytesMax);
  return { firstSeq: first, lastSeq: firstSeq + end, bytes: bytes.subarray(start, ends[end]) };
}

/** The last index in `from … to` whose end is at most `limit`, or `from` when not even that one is. */
function lastWithin(ends: readonly number[], from: number, to: number, limit: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (ends[middle]! <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}
