/**
 * Finds the frames that an earlier run left in its spool: scans the headers of all batches in constant memory and brings the
 * counts up to date. Damaged batches, torn ends and garbage are skipped; every other wanted frame is used. The frames
 * themselves are checked when they are read. Used by spool-dir.ts. (A16)
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
import type { Manifest } from "./spool-manifest.ts";
import {
  type Extent,
  listSpoolFiles,
  openSpoolFile,
  type SpoolFile,
  type SpoolFiles,
} from "./spool-files.ts";

const WINDOW_BYTES = 16 * 1024;
/** No spool file is longer; anything behind this is garbage. */
const SCAN_BYTES_MAX = 8 * 1024 * 1024 + BATCH_BYTES_MAX;

/** The state of a spool after the scan. */
export interface Recovered {
  /** Above every number in the files. */
  readonly nextSeq: number;
  /** As far as known; `acked + held + Σ dropped`. */
  readonly numbered: number;
  readonly acked: number;
  /** Frames that should be in the files and are not. */
  readonly damaged: number;
  /** Names in the directory that are not spool files. */
  readonly foreign: number;
}

/** Fills `files`. Without a manifest every frame found is wanted. Throws system errors. */
export function recover(
  dir: string,
  files: SpoolFiles,
  manifest: Manifest | undefined,
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
      // Frames of an unreadable file count as damaged, since the manifest knows how many there were.
    } finally {
      closeSync(fd);
    }
  }
  files.release(Math.max(found.wantedFrom, found.ackedBelow) - 1);
  return { ...found.result(files.frames), foreign };
}

/** The sum of what the batch headers record. */
class Found {
  readonly #manifest: Manifest | undefined;
  #lastSeq = 0;
  /** Every frame below is acknowledged. */
  ackedBelow = 1;
  #numbered: number;
  #base: number | undefined;
  /** Wanted frames in whole batches. */
  #seen = 0;
  /** Frames that were acknowledged before they had to be written. */
  #acked = 0;

  constructor(manifest: Manifest | undefined) {
    this.#manifest = manifest;
    this.#numbered = manifest?.numbered ?? 0;
    if (manifest !== undefined) this.#base = 0;
  }

  get wantedFrom(): number {
    return this.#manifest?.firstSeq ?? 1;
  }

  /** Adds a batch; false when its numbers were already seen. */
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

  /** Adds the frames of a whole batch. */
  addFrames(header: BatchHeader): void {
    this.#seen += Math.max(0, lastSeqOf(header) - Math.max(header.firstSeq, this.wantedFrom) + 1);
  }

  result(held: number): Omit<Recovered, "foreign"> {
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

/** The wanted extents of a file. */
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
      found.addFrames(header);
      addTo(extents, { file, at, end, firstSeq: header.firstSeq, lastSeq: lastSeqOf(header) });
    }
    // A batch that is cut short need not be the last write: another one may follow.
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

/** Reads a file piece by piece. */
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

  /** The offset of the next mark at or after `from`. */
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
