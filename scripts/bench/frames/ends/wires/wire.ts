/** What a source and a sink know of a protocol. Each is as light as can be, so that the server is what is measured. */
import type { Block } from "../pump.ts";

/** One stream's end of a connection that sends. */
export interface SourceEnd {
  /** What it writes when the connection opens. */
  readonly opening: string | Uint8Array;
  readonly block: Block;
  /** How far ahead of the acks it may be; undefined where there are no acks. The server may say it in `read`. */
  window: { readonly bytes: number } | { readonly messages: number } | undefined;
  /** Whether the server has let it begin. */
  ready: boolean;
  /** Messages acknowledged so far. */
  acked: number;
  /** Takes what the server says; what it gives back is written. */
  read(chunk: Buffer): string | undefined;
}

/** One stream's end of a connection that receives. */
export interface SinkEnd {
  readonly opening: string | Uint8Array;
  ready: boolean;
  /** What has come so far, in the unit of `expected`. */
  received: number;
  /** What `received` is when all frames of the stream have come. */
  readonly expected: number;
  read(chunk: Buffer): string | Uint8Array | undefined;
}

/** The frames of a block, each without its line end. */
export function eachFrame(frames: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let start = 0;
  for (let at = frames.indexOf(10); at >= 0; at = frames.indexOf(10, start)) {
    found.push(frames.subarray(start, at));
    start = at + 1;
  }
  return found;
}

/** Messages made of parts. */
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
