/**
 * Finds out what an earlier run left in its spool: looks through the headers of all batches, in memory that does not grow with
 * them, and brings the books up to date. A damaged batch, a torn end, garbage: stepped over; what is wanted of the rest is
 * used. Frames themselves are checked when they are read. Used by DiskSpool. (A16)
 */
import { closeSync, fstatSync, readSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "@fleet/daemon";
import {
  BATCH_BYTES_MAX,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  decodeBatchHeader,
  findMark,
  lastSeqOf,
} from "./spool-batch.ts";
import type { Books } from "./spool-manifest.ts";
import {
  type Extent,
  listSpoolFiles,
  openSpoolFile,
  type SpoolFile,
  type SpoolFiles,
} from "./spool-files.ts";

const WINDOW_BYTES = 16 * 1024;
/** A file of ours is never longer; what is behind it can't be ours. */
const SCAN_BYTES_MAX = 8 * 1024 * 1024 + BATCH_BYTES_MAX;

/** What was found. */
export interface Recovered {
  /** The number of the oldest frame that is still wanted; undefined without one. */
  readonly firstSeq: number | undefined;
  /** Above every number in the files. */
  readonly nextSeq: number;
  /** As far as it is known; `acked + held + Σ dropped`. */
  readonly numbered: number;
  readonly acked: number;
  /** Frames that should be there and are not. */
  readonly damaged: number;
  /** Names in the directory that are none of ours. */
  readonly foreign: number;
}

/** Fills `files`. Without books all frames that are found are wanted. Throws what the system says. */
export function recover(
  dir: string,
  files: SpoolFiles,
  manifest: Books | undefined,
  clock: Clock,
): Recovered {
  const { names, foreign } = listSpoolFiles(dir);
  const found = new Found(manifest);
  for (const name of names) {
    const path = join(dir, name);
    let fd: number;
    try {
      fd = openSpoolFile(path);
    } catch {
      continue;
    }
    try {
      const { size, mtimeMs } = fstatSync(fd);
      const ageMs = Math.max(0, clock.nowMs() - mtimeMs);
      const writtenMs = clock.monotonicMs() - ageMs;
      const file: SpoolFile = { path, bytes: size, bornMs: writtenMs, writtenMs };
      const extents = scanFile(fd, file, found);
      if (extents.length > 0) files.adopt(file, extents);
      else unlinkSync(path);
    } catch {
      // One that can't be read is as good as not there; the books tell what is missing.
    } finally {
      closeSync(fd);
    }
  }
  files.release(found.ackedBelow - 1);
  const wantedFrom = Math.max(manifest?.firstSeq ?? 1, found.ackedBelow);
  const firstExtent = files.extents[0];
  const held = files.framesFrom(wantedFrom);
  return {
    ...found.result(held),
    firstSeq: firstExtent && Math.max(firstExtent.firstSeq, wantedFrom),
    foreign,
  };
}

/** What the headers say, taken together. */
class Found {
  readonly #manifest: Books | undefined;
  #lastSeq = 0;
  /** All frames below are acknowledged. */
  ackedBelow = 1;
  #numbered: number;
  #base: number | undefined;
  /** Wanted frames that were seen. */
  #seen = 0;

  constructor(manifest: Books | undefined) {
    this.#manifest = manifest;
    this.#numbered = manifest?.numbered ?? 0;
    if (manifest !== undefined) this.#base = 0;
  }

  get wantedFrom(): number {
    return this.#manifest?.firstSeq ?? 1;
  }

  /** Takes note of a batch; false when its numbers were there before. */
  add(header: BatchHeader): boolean {
    this.#base ??= header.framesBefore;
    this.#numbered = Math.max(this.#numbered, header.framesBefore + header.frames);
    if (header.firstSeq <= this.#lastSeq) return false;
    this.#lastSeq = lastSeqOf(header);
    if (header.ackedFrom < header.firstSeq) {
      this.ackedBelow = header.firstSeq;
      this.#acked += Math.max(
        0,
        header.firstSeq - Math.max(header.ackedFrom, this.#manifest?.settled ?? 1),
      );
    }
    return true;
  }

  /** Frames of a batch that were acknowledged without having been written. */
  #acked = 0;

  /** A whole batch. */
  saw(header: BatchHeader): void {
    this.#seen += Math.max(0, lastSeqOf(header) - Math.max(header.firstSeq, this.wantedFrom) + 1);
  }

  result(held: number): Omit<Recovered, "firstSeq" | "foreign"> {
    const manifest = this.#manifest;
    const dropped = Object.values(manifest?.dropped ?? {}).reduce((sum, n) => sum + n, 0);
    const acked = (manifest?.acked ?? 0) + this.#acked + this.#seen - held;
    const expected = this.#numbered - (this.#base ?? 0);
    const damaged = Math.max(0, expected - acked - dropped - held);
    return {
      nextSeq: Math.max(this.#lastSeq + 1, manifest?.settled ?? 1),
      numbered: acked + dropped + damaged + held,
      acked,
      damaged,
    };
  }
}

/** The extents of a file that are wanted. */
function scanFile(fd: number, file: SpoolFile, found: Found): Extent[] {
  const extents: Extent[] = [];
  const window = new Window(fd, Math.min(file.bytes, SCAN_BYTES_MAX));
  let at: number | undefined = 0;
  while (at !== undefined) {
    const header = window.headerAt(at);
    if (header === undefined) {
      at = window.markFrom(at + 1);
      continue;
    }
    const end = at + BATCH_HEADER_BYTES + header.bytes;
    const isNew = found.add(header);
    const isWhole = end <= file.bytes;
    if (isNew && isWhole && lastSeqOf(header) >= found.wantedFrom) {
      found.saw(header);
      addTo(extents, { file, at, end, firstSeq: header.firstSeq, lastSeq: lastSeqOf(header) });
    }
    // What follows a header whose frames are not all there may still be another batch: nothing says it was the last write.
    at = isWhole ? end : window.markFrom(at + 1);
  }
  return extents;
}

function addTo(extents: Extent[], next: Extent): void {
  const last = extents.at(-1);
  if (last !== undefined && last.end === next.at && last.lastSeq + 1 === next.firstSeq) {
    last.end = next.end;
    last.lastSeq = next.lastSeq;
  } else extents.push(next);
}

/** A piece of a file at a time. */
class Window {
  readonly #fd: number;
  readonly #size: number;
  readonly #buffer = new Uint8Array(WINDOW_BYTES);
  #at = 0;
  #length = 0;

  constructor(fd: number, size: number) {
    this.#fd = fd;
    this.#size = size;
  }

  headerAt(at: number): BatchHeader | undefined {
    if (at + BATCH_HEADER_BYTES > this.#size) return undefined;
    if (at < this.#at || at + BATCH_HEADER_BYTES > this.#at + this.#length) this.#read(at);
    return decodeBatchHeader(this.#buffer.subarray(0, this.#length), at - this.#at);
  }

  /** Where the next mark is, from `from` on. */
  markFrom(from: number): number | undefined {
    for (let at = from; at + BATCH_HEADER_BYTES <= this.#size;) {
      this.#read(at);
      if (this.#length < BATCH_HEADER_BYTES) return undefined;
      const mark = findMark(this.#buffer.subarray(0, this.#length), 0);
      if (mark >= 0) return at + mark;
      at += this.#length - BATCH_HEADER_BYTES + 1;
    }
    return undefined;
  }

  #read(at: number): void {
    this.#at = at;
    this.#length = readSync(this.#fd, this.#buffer, 0, this.#buffer.length, at);
  }
}
