/** Copies and hashes open files in pieces, so that signals are handled meanwhile and memory use stays small. (A2) */
import type { FileHandle } from "node:fs/promises";

/** Length and hash of the bytes read. */
export interface Digest {
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

const PIECE_BYTES = 1024 ** 2;

/**
 * Copies all of `from` to the current position of `to` and hashes the bytes read. It does not use copy_file_range(2): source and
 * volume rarely share a file system, and the bytes must be hashed anyway.
 */
export function copyHashed(from: FileHandle, to: FileHandle): Promise<Digest> {
  return readHashed(from, async (piece) => {
    let done = 0;
    while (done < piece.length) {
      const { bytesWritten } = await to.write(piece, done, piece.length - done, null);
      done += bytesWritten;
    }
  });
}

/** Hashes the whole file. */
export function hashFile(file: FileHandle): Promise<Digest> {
  return readHashed(file, async () => {});
}

async function readHashed(
  file: FileHandle,
  onPiece: (piece: Uint8Array) => Promise<void>,
): Promise<Digest> {
  const hasher = new Bun.CryptoHasher("sha256");
  const buffer = new Uint8Array(PIECE_BYTES);
  let bytes = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES, bytes);
    if (bytesRead === 0) return { bytes, sha256: hasher.digest("hex") };
    const piece = buffer.subarray(0, bytesRead);
    hasher.update(piece);
    bytes += bytesRead;
    await onPiece(piece);
  }
}
