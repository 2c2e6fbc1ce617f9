/**
 * What a spool on disk must know besides its frames: its id, which numbers it may use, and the books. One small file with two
 * places that are written in turn, in place: a torn write leaves the other one, and a full disk need not refuse it. (A16)
 */
import { closeSync, constants, fdatasyncSync, openSync, readSync, writeSync } from "node:fs";
import { type SpoolId, spoolIdSchema } from "@fleet/protocol";
import { z } from "zod";

const PLACE_BYTES = 4096;
const HEAD_BYTES = 8;
const FILE_MODE = 0o600;

const count = z.int().min(0);
const booksSchema = z.object({
  version: count,
  spool_id: spoolIdSchema,
  reserved: z.int().min(1),
  first_seq: z.int().min(1),
  settled: z.int().min(1),
  numbered: count,
  acked: count,
  dropped: z.record(z.string().max(64), count),
  refused: count,
});

/** The books at one moment. */
export interface Books {
  readonly spoolId: SpoolId;
  /** All numbers that were ever used are below. */
  readonly reserved: number;
  /** Frames below are acknowledged or dropped. */
  readonly firstSeq: number;
  /** Frames below are on disk, or acknowledged, or dropped. `numbered` of them there were. */
  readonly settled: number;
  readonly numbered: number;
  readonly acked: number;
  /** Numbered frames, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Frames that were dropped before they got a number, because the spool was full. */
  readonly refused: number;
}

/** The file. Everything but `close` throws what the system says. */
export class SpoolManifest {
  readonly #fd: number;
  #version = 0;

  /** Opens or makes the file; to be read first. */
  constructor(path: string) {
    const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
    this.#fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
  }

  /** The descriptor, for locking. */
  get fd(): number {
    return this.#fd;
  }

  /** The youngest books that are whole; undefined when none are. */
  read(): Books | undefined {
    const bytes = new Uint8Array(2 * PLACE_BYTES);
    const length = readSync(this.#fd, bytes, 0, bytes.length, 0);
    const found = [0, PLACE_BYTES].flatMap((at) => decode(bytes.subarray(at, length)) ?? []);
    const [youngest] = found.toSorted((a, b) => b.version - a.version);
    if (youngest === undefined) return undefined;
    this.#version = youngest.version;
    return youngest;
  }

  /** Survives the end of this process at once, and a power loss when `isSynced`. */
  write(manifest: Books, isSynced: boolean): void {
    const version = this.#version + 1;
    const bytes = encode(manifest, version);
    writeSync(this.#fd, bytes, 0, bytes.length, (version % 2) * PLACE_BYTES);
    this.#version = version;
    if (isSynced) fdatasyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function encode(manifest: Books, version: number): Uint8Array {
  const { spoolId, reserved, firstSeq, settled, numbered, acked, dropped, refused } = manifest;
  const body: z.input<typeof booksSchema> = {
    version,
    spool_id: spoolId,
    reserved,
    first_seq: firstSeq,
    settled,
    numbered,
    acked,
    dropped: { ...dropped },
    refused,
  };
  const text = new TextEncoder().encode(JSON.stringify(body));
  const bytes = new Uint8Array(PLACE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Bun.hash.crc32(text), true);
  view.setUint32(4, text.length, true);
  bytes.set(text, HEAD_BYTES);
  return bytes;
}

function decode(place: Uint8Array): (Books & { readonly version: number }) | undefined {
  if (place.length < HEAD_BYTES) return undefined;
  const view = new DataView(place.buffer, place.byteOffset, place.length);
  const text = place.subarray(HEAD_BYTES, HEAD_BYTES + view.getUint32(4, true));
  if (text.length === 0 || Bun.hash.crc32(text) !== view.getUint32(0, true)) return undefined;
  try {
    const manifest = booksSchema.parse(JSON.parse(new TextDecoder().decode(text)));
    return {
      version: manifest.version,
      spoolId: manifest.spool_id,
      reserved: manifest.reserved,
      firstSeq: manifest.first_seq,
      settled: manifest.settled,
      numbered: manifest.numbered,
      acked: manifest.acked,
      dropped: manifest.dropped,
      refused: manifest.refused,
    };
  } catch {
    return undefined;
  }
}
