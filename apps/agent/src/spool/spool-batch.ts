/**
 * The format of spool files: consecutive batches, each a header of 48 bytes followed by frames with their LFs. Header and frames
 * have separate checksums, so a damaged batch can be skipped; the mark finds the batch after a damaged header. Little-endian.
 * No I/O. Used by spool-files.ts, spool-reader.ts and spool-recovery.ts. (A16)
 *
 *   0 mark "FLTSPL01"   8 crc32 of bytes 12…47   12 crc32 of the frames   16 bytes of the frames   20 frames
 *   24 firstSeq   32 ackedFrom   40 framesBefore
 */

/** Bytes before the frames of a batch. */
export const BATCH_HEADER_BYTES = 48;
/** The most bytes of frames in a batch: a segment of the memory, or one frame of 1 MiB. */
export const BATCH_BYTES_MAX = 2 * 1024 * 1024;

const MARK = new TextEncoder().encode("FLTSPL01");
const HEADER_CRC_AT = 8;
const CHECKED_FROM = 12;

/** The header of a batch. */
export interface BatchHeader {
  /** The frames are numbered `firstSeq … firstSeq + frames − 1`. */
  readonly firstSeq: number;
  readonly frames: number;
  /** Length of the frames, LFs included. */
  readonly bytes: number;
  /** crc32 of the frames. */
  readonly crc: number;
  /** Frames `ackedFrom … firstSeq − 1` were acknowledged before they had to be written; equal to `firstSeq` when none were. */
  readonly ackedFrom: number;
  /** How many frames the spool had ever numbered before this batch. */
  readonly framesBefore: number;
}

/** The number of a batch's last frame. */
export function lastSeqOf({ firstSeq, frames }: BatchHeader): number {
  return firstSeq + frames - 1;
}

/** Encodes the header for `frames`. */
export function encodeBatchHeader(header: Omit<BatchHeader, "crc" | "bytes">, frames: Uint8Array) {
  const bytes = new Uint8Array(BATCH_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MARK);
  view.setUint32(12, checksum(frames), true);
  view.setUint32(16, frames.length, true);
  view.setUint32(20, header.frames, true);
  view.setBigUint64(24, BigInt(header.firstSeq), true);
  view.setBigUint64(32, BigInt(header.ackedFrom), true);
  view.setBigUint64(40, BigInt(header.framesBefore), true);
  view.setUint32(HEADER_CRC_AT, checksum(bytes.subarray(CHECKED_FROM)), true);
  return bytes;
}

/** The header at offset `at`; undefined when there is none, or only a part. */
export function decodeBatchHeader(bytes: Uint8Array, at: number): BatchHeader | undefined {
  if (at + BATCH_HEADER_BYTES > bytes.length) return undefined;
  for (let i = 0; i < MARK.length; i++) if (bytes[at + i] !== MARK[i]) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, BATCH_HEADER_BYTES);
  const checked = bytes.subarray(at + CHECKED_FROM, at + BATCH_HEADER_BYTES);
  if (view.getUint32(HEADER_CRC_AT, true) !== checksum(checked)) return undefined;
  const header = {
    crc: view.getUint32(12, true),
    bytes: view.getUint32(16, true),
    frames: view.getUint32(20, true),
    firstSeq: Number(view.getBigUint64(24, true)),
    ackedFrom: Number(view.getBigUint64(32, true)),
    framesBefore: Number(view.getBigUint64(40, true)),
  };
  return isPlausible(header) ? header : undefined;
}

/** Whether `frames` match the length and checksum in the header. */
export function holdsFrames(header: BatchHeader, frames: Uint8Array): boolean {
  return frames.length === header.bytes && checksum(frames) === header.crc;
}

/** The offset of the next whole mark in `bytes` at or after `from`; −1 when there is none. */
export function findMark(bytes: Uint8Array, from: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(MARK, from);
}

function isPlausible({ bytes, frames, firstSeq, ackedFrom, framesBefore }: BatchHeader): boolean {
  return (
    frames >= 1 &&
    bytes >= frames &&
    bytes <= BATCH_BYTES_MAX &&
    firstSeq >= 1 &&
    ackedFrom >= 1 &&
    ackedFrom <= firstSeq &&
    firstSeq + frames <= Number.MAX_SAFE_INTEGER &&
    framesBefore + frames <= Number.MAX_SAFE_INTEGER
  );
}

function checksum(bytes: Uint8Array): number {
  return Bun.hash.crc32(bytes);
}
