/**
 * The manifest of a spool on disk: its id, the numbers it has reserved, and its counts. It is one small file with two slots that
 * are overwritten in turn: a torn write leaves the other slot intact, and a full disk has no reason to refuse the write. (A16)
 */
import { closeSync, constants, fdatasyncSync, openSync, readSync, writeSync } from "node:fs";
import { type SpoolId, spoolIdSchema } from "@fleet/protocol";
import { z } from "zod";
import type { SavedCounts } from "./spool-counts.ts";

const SLOT_BYTES = 4096;
const HEAD_BYTES = 8;
const FILE_MODE = 0o600;

const count = z.int().min(0);
const manifestSchema = z.object({
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

/** The state of a spool at one moment. */
export interface Manifest extends SavedCounts {
  readonly spoolId: SpoolId;
  /** Every number that was ever used is below. */
  readonly reserved: number;
  /** Frames below are acknowledged or dropped. */
  readonly firstSeq: number;
  /** Frames below are on disk, acknowledged or dropped; `numbered` counts them. */
  readonly settled: number;
}

/** The open file. All methods but `close` throw system errors. */
export class ManifestFile {
  readonly #fd: number;
  #version = 0;

  /** Opens or creates the file. Call `read` before the first `write`. */
  constructor(path: string) {
    const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
    this.#fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
  }

  /** The descriptor, to lock the directory by. */
  get fd(): number {
    return this.#fd;
  }

  /** The youngest intact slot; undefined when there is none. */
  read(): Manifest | undefined {
    const bytes = new Uint8Array(2 * SLOT_BYTES);
    const length = readSync(this.#fd, bytes, 0, bytes.length, 0);
    const found = [0, SLOT_BYTES].flatMap((at) => decode(bytes.subarray(at, length)) ?? []);
    const [youngest] = found.toSorted((a, b) => b.version - a.version);
    if (youngest === undefined) return undefined;
    this.#version = youngest.version;
    return youngest;
  }

  /** What is written survives the end of this process, and with `isSynced` also a power loss. */
  write(manifest: Manifest, isSynced: boolean): void {
    const version = this.#version + 1;
    const bytes = encode(manifest, version);
    writeSync(this.#fd, bytes, 0, bytes.length, (version % 2) * SLOT_BYTES);
    this.#version = version;
    if (isSynced) fdatasyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function encode(manifest: Manifest, version: number): Uint8Array {
  const { spoolId, reserved, firstSeq, settled, numbered, acked, dropped, refused } = manifest;
  const body: z.input<typeof manifestSchema> = {
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
  const bytes = new Uint8Array(SLOT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Bun.hash.crc32(text), true);
  view.setUint32(4, text.length, true);
  bytes.set(text, HEAD_BYTES);
  return bytes;
}

function decode(slot: Uint8Array): (Manifest & { readonly version: number }) | undefined {
  if (slot.length < HEAD_BYTES) return undefined;
  const view = new DataView(slot.buffer, slot.byteOffset, slot.length);
  const text = slot.subarray(HEAD_BYTES, HEAD_BYTES + view.getUint32(4, true));
  if (text.length === 0 || Bun.hash.crc32(text) !== view.getUint32(0, true)) return undefined;
  try {
    const manifest = manifestSchema.parse(JSON.parse(new TextDecoder().decode(text)));
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
