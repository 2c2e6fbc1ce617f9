/**
 * The frames of a spool that are in memory: the youngest ones, not yet written to disk. Frames lie one after the other in
 * segments, so reading a run of frames copies nothing; every operation takes amortised constant time per frame. It counts
 * nothing and drops nothing by itself. Used by DiskSpool and the parts it is made of.
 */
import type { SpoolChunk } from "./spool.ts";

const LF = 10;
const SEGMENT_BYTES = 256 * 1024;
/** An idle sensor should not hold a whole segment: the first one starts this small and doubles. */
const SEGMENT_BYTES_MIN = 4096;

/** Frames `firstSeq … firstSeq + ends.length − 1`; frame i ends, LF included, at `ends[i]` in `bytes`. */
interface Segment {
  readonly firstSeq: number;
  bytes: Uint8Array;
  readonly ends: number[];
}

/** How a buffer is set up. */
export interface FrameBufferOptions {
  /** The number of the first frame. */
  readonly firstSeq: number;
  /** Memory for frames that are already released, kept for a replay. */
  readonly keepBytesMax: number;
  readonly segmentBytes?: number;
}

/** An unbounded queue of numbered frames; the owner releases frames to keep its bounds. */
export class FrameBuffer {
  readonly #segmentBytes: number;
  readonly #keepBytesMax: number;
  /** Oldest first. Only the last one is written to. */
  readonly #segments: Segment[] = [];
  /** Frames of the first segment that are already released. */
  #released = 0;
  /** Memory of the last emptied segment, for the next one. */
  #spare: Uint8Array | undefined;
  #bytes = 0;
  #firstSeq: number;
  #nextSeq: number;
  /** Released segments, oldest first, and the memory they take. */
  readonly #kept: Segment[] = [];
  #keptBytes = 0;

  constructor({ firstSeq, keepBytesMax, segmentBytes = SEGMENT_BYTES }: FrameBufferOptions) {
    this.#segmentBytes = segmentBytes;
    this.#keepBytesMax = keepBytesMax;
    this.#firstSeq = firstSeq;
    this.#nextSeq = firstSeq;
  }

  /** The number of the oldest frame, or the next number when the buffer is empty. */
  get firstSeq(): number {
    return this.#firstSeq;
  }

  get nextSeq(): number {
    return this.#nextSeq;
  }

  /** How many frames it holds. */
  get frames(): number {
    return this.#nextSeq - this.#firstSeq;
  }

  /** Bytes of the frames it holds, LFs included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Copies the line `bytes[start..end)`, without its LF. */
  append(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start + 1;
    const segment = this.#segmentFor(length);
    const at = usedBytes(segment);
    segment.bytes.set(bytes.subarray(start, end), at);
    segment.bytes[at + length - 1] = LF;
    segment.ends.push(at + length);
    this.#nextSeq++;
    this.#bytes += length;
  }

  /** As Spool.read. */
  read(fromSeq: number, bytesMax: number): SpoolChunk | undefined {
    const first = Math.max(fromSeq, this.#firstSeq);
    if (first >= this.#nextSeq) return undefined;
    const segment = this.#segmentOf(first);
    return chunkOf(segment, first, segment.firstSeq + segment.ends.length - 1, bytesMax);
  }

  /** Like `read`, for released frames below `belowSeq` that are still in memory. */
  readReleased(fromSeq: number, belowSeq: number, bytesMax: number): SpoolChunk | undefined {
    const below = Math.min(belowSeq, this.#firstSeq);
    const released = [...this.#kept, ...this.#segments.slice(0, this.#released > 0 ? 1 : 0)];
    const segment = released.find(({ firstSeq, ends }) => firstSeq + ends.length > fromSeq);
    if (segment === undefined) return undefined;
    const first = Math.max(fromSeq, segment.firstSeq);
    if (first >= below) return undefined;
    const last = Math.min(below, segment.firstSeq + segment.ends.length) - 1;
    return chunkOf(segment, first, last, bytesMax);
  }

  /** Releases the frames up to `seq`; numbers that were never used are ignored. */
  release(seq: number): void {
    const last = Math.min(seq, this.#nextSeq - 1);
    while (this.#firstSeq <= last) {
      const segment = this.#segments[0]!;
      const { firstSeq, ends } = segment;
      const start = this.#released === 0 ? 0 : ends[this.#released - 1]!;
      this.#released = Math.min(ends.length, last - firstSeq + 1);
      this.#bytes -= ends[this.#released - 1]! - start;
      this.#firstSeq = firstSeq + this.#released;
      if (this.#released < ends.length) return;
      this.#segments.shift();
      this.#released = 0;
      this.#keep(segment);
    }
  }

  /** Keeps the youngest released segments; the memory of a segment that is not kept serves the next one. */
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

  /** The last segment, grown to fit `length` more bytes, or a new one. */
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

/** Frames `first … last` of a segment: as many of them as `bytesMax` allows, but at least one. */
function chunkOf(segment: Segment, first: number, last: number, bytesMax: number): SpoolChunk {
  const { firstSeq, bytes, ends } = segment;
  const index = first - firstSeq;
  const start = index === 0 ? 0 : ends[index - 1]!;
  const end = lastWithin(ends, index, last - firstSeq, start + bytesMax);
  return { firstSeq: first, lastSeq: firstSeq + end, bytes: bytes.subarray(start, ends[end]) };
}

/** The last index in `from … to` whose end is at most `limit`; `from` when every end is above it. */
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
