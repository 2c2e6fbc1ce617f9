/** The protocol-specific parts of a source and a sink. They are light, so that the bench measures the server. */
import type { Block } from "../pump.ts";

/** The sending end of one stream. */
export interface SourceEnd {
  /** Written when the connection opens. */
  readonly opening: string | Uint8Array;
  readonly block: Block;
  /** How far it may send beyond the acks; undefined without acks. `read` may change it. */
  window: { readonly bytes: number } | { readonly messages: number } | undefined;
  /** Whether the server has accepted the connection. */
  isReady: boolean;
  /** Messages acknowledged so far. */
  acked: number;
  /** Reads what the server sends. Returns the answer to write, if any. */
  read(chunk: Buffer): string | undefined;
}

/** The receiving end of one stream. */
export interface SinkEnd {
  readonly opening: string | Uint8Array;
  isReady: boolean;
  /** How much has arrived, in the unit of `expected`. */
  received: number;
  /** The value of `received` once all frames of the stream have arrived. */
  readonly expected: number;
  read(chunk: Buffer): string | Uint8Array | undefined;
}

/** Splits a block into frames without their LF. */
export function splitFrames(frames: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let start = 0;
  for (let at = frames.indexOf(10); at >= 0; at = frames.indexOf(10, start)) {
    found.push(frames.subarray(start, at));
    start = at + 1;
  }
  return found;
}

/** Joins messages, each given as parts, into a block. */
export function blockOf(messages: readonly (readonly (string | Uint8Array)[])[]): Block {
  const ends: number[] = [];
  let at = 0;
  const parts: Uint8Array[] = [];
  for (const message of messages) {
    for (const part of message) {
      const bytes = typeof part === "string" ? Buffer.from(part, "latin1") : part;
      parts.push(bytes);
      at += bytes.length;
    }
    ends.push(at);
  }
  return { bytes: Buffer.concat(parts), ends };
}
