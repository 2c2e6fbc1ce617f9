/** Copying and hashing open files, in pieces, so that signals are heard meanwhile and memory stays small. (A2) */
import type { FileHandle } from "node:fs/promises";

/** What went through. */
export interface Digest {
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

const PIECE_BYTES = 1024 ** 2;

/**
 * Copies `from`, from its start, to where `to` stands; the digest is that of the bytes read. Not the kernel's own copy: the
 * volume is hardly ever the file system the agent came on, so nothing could be shared, and the bytes must be hashed anyway.
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

/** The digest of what the file reads as, from its start. */
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
