/**
 * Reads the frames of a spool's files in order: whole batches through one buffer, each verified by its checksum. Small batches,
 * as a slow sensor leaves them, are joined into one chunk. Used by DiskSpool. (A16)
 */
import { closeSync, readSync } from "node:fs";
import {
  BATCH_BYTES_MAX,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  decodeBatchHeader,
  holdsFrames,
  lastSeqOf,
} from "./spool-batch.ts";
import { type Extent, openSpoolFile, type SeqRange } from "./spool-files.ts";
import type { SpoolChunk } from "./spool.ts";

const LF = 10;
const WINDOW_BYTES = 512 * 1024;
/** A chunk smaller than this is joined with the following ones. */
const CHUNK_BYTES_MIN = 64 * 1024;

/** Frames, or a range of unreadable frames with the offset in the file at which reading can continue. */
export type SpoolRead =
  | ({ readonly at: "frames" } & SpoolChunk)
  | ({ readonly at: "damaged"; readonly nextAt: number } & SeqRange);

type Damage = Extract<SpoolRead, { at: "damaged" }>;

/** The batch being read. `at` is its offset in the file; `next` is the next frame and `offset` its place in the batch. */
interface Loaded {
  readonly extent: Extent;
  readonly header: BatchHeader;
  readonly at: number;
  next: number;
  offset: number;
}

/** A sequential reader; it keeps one file open and one window of it in memory. */
export class SpoolReader {
  #open: { readonly path: string; readonly fd: number } | undefined;
  #buffer = new Uint8Array(0);
  /** The offset in the file at which the buffer starts. */
  #bufferAt = 0;
  #buffered = 0;
  #loaded: Loaded | undefined;
  #joined = new Uint8Array(0);

  /** Frames of `extent` from `fromSeq`, which must be in it: at most `bytesMax` bytes, but at least one frame. */
  read(extent: Extent, fromSeq: number, bytesMax: number): SpoolRead {
    const damage = this.#seek(extent, fromSeq);
    if (damage !== undefined) return damage;
    const first = this.#take(bytesMax) ?? this.#take(BATCH_BYTES_MAX, 1)!;
    if (first.bytes.length >= CHUNK_BYTES_MIN || first.lastSeq === extent.lastSeq)
      return { at: "frames", ...first };
    return { at: "frames", ...this.#join(extent, first, Math.min(bytesMax, CHUNK_BYTES_MIN)) };
  }

  /** Closes the file and frees the memory; the next read opens it again. */
  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd);
    this.#open = undefined;
    this.#loaded = undefined;
    this.#buffered = 0;
    this.#buffer = new Uint8Array(0);
    this.#joined = new Uint8Array(0);
  }

  #join(extent: Extent, first: SpoolChunk, bytesMax: number): SpoolChunk {
    if (this.#joined.length === 0) this.#joined = new Uint8Array(CHUNK_BYTES_MIN);
    let length = 0;
    let { lastSeq } = first;
    let part: SpoolChunk | undefined = first;
    while (part !== undefined && length + part.bytes.length <= this.#joined.length) {
      this.#joined.set(part.bytes, length);
      length += part.bytes.length;
      ({ lastSeq } = part);
      // Damage ends the chunk; the next read reports it.
      if (lastSeq >= extent.lastSeq || this.#seek(extent, lastSeq + 1) !== undefined) break;
      part = length < bytesMax ? this.#take(bytesMax - length) : undefined;
    }
    return { firstSeq: first.firstSeq, lastSeq, bytes: this.#joined.subarray(0, length) };
  }

  /** Whole frames of the loaded batch, within `bytesMax` and `framesMax`; undefined when not even one fits. */
  #take(bytesMax: number, framesMax = Number.POSITIVE_INFINITY): SpoolChunk | undefined {
    const loaded = this.#loaded!;
    const { header, at, next, offset } = loaded;
    const start = at - this.#bufferAt + BATCH_HEADER_BYTES + offset;
    const rest = this.#buffer.subarray(start, start + header.bytes - offset);
    const lastSeq = lastSeqOf(header);
    let end = rest.length;
    let last = lastSeq;
    if (rest.length > bytesMax || framesMax <= lastSeq - next) {
      end = 0;
      last = next - 1;
      for (;;) {
        const lf = rest.indexOf(LF, end);
        if (lf < 0 || lf >= bytesMax || last - next + 1 >= framesMax) break;
        end = lf + 1;
        last++;
      }
      if (end === 0) return undefined;
    }
    loaded.next = last + 1;
    loaded.offset = offset + end;
    return { firstSeq: next, lastSeq: last, bytes: rest.subarray(0, end) };
  }

  /** Loads the batch that holds `seq` and positions the reader at that frame. */
  #seek(extent: Extent, seq: number): Damage | undefined {
    const loaded = this.#loaded;
    let at = extent.at;
    let expected = extent.firstSeq;
    if (loaded?.extent === extent && loaded.header.firstSeq <= seq) {
      if (loaded.next === seq && seq <= lastSeqOf(loaded.header)) return undefined;
      at = loaded.at;
      expected = loaded.header.firstSeq;
    }
    this.#loaded = undefined;
    for (;;) {
      const header = this.#headerAt(extent, at);
      if (header === undefined || header.firstSeq !== expected)
        return { at: "damaged", firstSeq: expected, lastSeq: extent.lastSeq, nextAt: extent.end };
      const last = lastSeqOf(header);
      const nextAt = at + BATCH_HEADER_BYTES + header.bytes;
      if (seq <= last) {
        if (!this.#load(extent, at, header, seq))
          return { at: "damaged", firstSeq: header.firstSeq, lastSeq: last, nextAt };
        return undefined;
      }
      at = nextAt;
      expected = last + 1;
    }
  }

  #headerAt(extent: Extent, at: number): BatchHeader | undefined {
    if (at + BATCH_HEADER_BYTES > extent.end) return undefined;
    if (!this.#fill(extent, at, BATCH_HEADER_BYTES)) return undefined;
    return decodeBatchHeader(this.#buffer.subarray(0, this.#buffered), at - this.#bufferAt);
  }

  #load(extent: Extent, at: number, header: BatchHeader, seq: number): boolean {
    const length = BATCH_HEADER_BYTES + header.bytes;
    if (at + length > extent.end || !this.#fill(extent, at, length)) return false;
    const start = at - this.#bufferAt + BATCH_HEADER_BYTES;
    const frames = this.#buffer.subarray(start, start + header.bytes);
    if (!holdsFrames(header, frames)) return false;
    let offset = 0;
    for (let next = header.firstSeq; next < seq; next++) {
      const lf = frames.indexOf(LF, offset);
      if (lf < 0) return false;
      offset = lf + 1;
    }
    this.#loaded = { extent, header, at, next: seq, offset };
    return true;
  }

  /** Ensures that the buffer holds `length` bytes from `at`; false when they can't be read. */
  #fill({ file, end }: Extent, at: number, length: number): boolean {
    const isOpen = this.#open?.path === file.path;
    if (isOpen && at >= this.#bufferAt && at + length <= this.#bufferAt + this.#buffered)
      return true;
    this.#buffered = 0;
    if (this.#buffer.length < length) this.#buffer = new Uint8Array(Math.max(WINDOW_BYTES, length));
    try {
      if (!isOpen) {
        if (this.#open !== undefined) closeSync(this.#open.fd);
        this.#open = undefined;
        this.#open = { path: file.path, fd: openSpoolFile(file.path) };
      }
      this.#bufferAt = at;
      // Bytes behind `end` may belong to a write that failed.
      const wanted = Math.min(this.#buffer.length, end - at);
      this.#buffered = readSync(this.#open!.fd, this.#buffer, 0, wanted, at);
    } catch {
      return false;
    }
    return this.#buffered >= length;
  }
}
