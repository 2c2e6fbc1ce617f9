/**
 * The agent's side of the frame protocol on one connection, from the hello to the end. It does no I/O: `receive` takes bytes
 * from the coordinator, `write` sends bytes to it. Uplink creates one for each connection.
 *
 * greeting ─ welcome ─► open ─► ended;  greeting ─► ended. `onEnd` reports the end once.
 */
import {
  CONTROL_BYTES_MAX,
  encodeLine,
  type Hello,
  LineDecoder,
  parseServerLine,
  type ServerLine,
} from "@fleet/protocol";
import type { Spool } from "../spool/spool.ts";

/** Why a session ended, if the protocol ended it. */
export type SessionEnd =
  | {
      readonly at: "rejected";
      readonly code: string;
      readonly message: string;
      readonly retryable: boolean;
    }
  | { readonly at: "bye"; readonly code: string }
  | { readonly at: "bad_server"; readonly problem: string };

/** What a session is wired to. */
export interface SessionOptions {
  readonly hello: Hello;
  readonly spool: Spool;
  /** Writes as many bytes as fit now and returns how many; the rest follows after `drained`. −1 if the socket is closed. */
  readonly write: (bytes: Uint8Array) => number;
  readonly onOpen: () => void;
  /** Frames up to `seq` are acknowledged. */
  readonly onAck: (seq: number) => void;
  readonly onEnd: (end: SessionEnd) => void;
}

/** The most bytes written to the socket at once. */
const WRITE_BYTES_MAX = 256 * 1024;
/** The largest window that a coordinator may ask for. */
const WINDOW_BYTES_MAX = 64 * 1024 * 1024;

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** Frames that were written together and are not all acknowledged. */
interface Flight {
  readonly lastSeq: number;
  readonly bytes: number;
}

/**
 * Sends the spool's frames in order, each once per session, with at most `window_bytes` unacknowledged (a single frame may be
 * larger than the window). A `skip` line announces frames that the spool has dropped in the meantime.
 */
export class UplinkSession {
  readonly #options: SessionOptions;
  readonly #lines = new LineDecoder(CONTROL_BYTES_MAX);
  #at: "greeting" | "open" | "ended" = "greeting";
  #windowBytes = 0;
  /** The number that the coordinator assigns to the next frame. */
  #nextSeq = 1;
  #ackedSeq = 0;
  readonly #flights: Flight[] = [];
  #flightBytes = 0;
  /** The part of the last write that the socket has not accepted yet. */
  #rest = NOTHING;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#at === "open";
  }

  /** Sends the hello. Call it once, when the connection is open. */
  start(): void {
    this.#send(encoder.encode(encodeLine(this.#options.hello)));
  }

  /** Takes bytes from the coordinator, cut anywhere. */
  receive(chunk: Uint8Array): void {
    this.#lines.push(chunk, (bytes, start, end) => {
      if (this.#at === "ended") return;
      const line = parseServerLine(decoder.decode(bytes.subarray(start, end)));
      if (line === undefined) this.#bad("a line that is not part of the protocol");
      else this.#handle(line);
    });
    if (this.#lines.oversized > 0) this.#bad("a line that is too long");
    this.pump();
  }

  /** The socket accepts bytes again. */
  drained(): void {
    this.#flushRest();
    this.pump();
  }

  /** Sends as much as window and socket allow. Cheap if there is nothing to send. */
  pump(): void {
    const { spool, hello } = this.#options;
    if (this.#at === "open" && spool.spoolId !== hello.spool_id)
      return this.#bad("the spool has a new id");
    while (this.#at === "open" && this.#rest.length === 0) {
      const room = this.#windowBytes - this.#flightBytes;
      if (room <= 0) return;
      const chunk = spool.read(this.#nextSeq, Math.min(room, WRITE_BYTES_MAX));
      if (chunk === undefined) return;
      if (chunk.bytes.length > room && this.#flights.length > 0) return;
      if (chunk.firstSeq > this.#nextSeq) {
        this.#nextSeq = chunk.firstSeq;
        this.#skipTo(chunk.firstSeq);
        continue;
      }
      this.#nextSeq = chunk.lastSeq + 1;
      this.#flights.push({ lastSeq: chunk.lastSeq, bytes: chunk.bytes.length });
      this.#flightBytes += chunk.bytes.length;
      this.#send(chunk.bytes);
    }
  }

  /** Sends a `skip` to the next number as a sign of life, unless a write is pending. */
  keepAlive(): void {
    if (this.#at === "open" && this.#rest.length === 0) this.#skipTo(this.#nextSeq);
  }

  #skipTo(seq: number): void {
    this.#send(encoder.encode(encodeLine({ type: "skip", to: seq })));
  }

  #handle(line: ServerLine): void {
    if (line.type === "reject")
      return this.#end({
        at: "rejected",
        code: line.code,
        message: line.message,
        retryable: line.retryable,
      });
    if (line.type === "bye") return this.#end({ at: "bye", code: line.code });
    if (line.type === "welcome") return this.#welcome(line.acked, line.window_bytes);
    if (this.#at !== "open") return this.#bad(`"${line.type}" before "welcome"`);
    if (line.type === "rejected") return this.#options.spool.reject(line.seq, line.code);
    if (line.seq >= this.#nextSeq) return this.#bad("an ack of frames that were not sent");
    this.#acked(line.seq);
  }

  #welcome(acked: number, windowBytes: number): void {
    const { hello, spool } = this.#options;
    if (this.#at !== "greeting") return this.#bad('a second "welcome"');
    if (!spool.resume(acked)) return this.#bad("an ack of frames that do not exist");
    this.#at = "open";
    this.#windowBytes = Math.min(windowBytes, WINDOW_BYTES_MAX);
    this.#nextSeq = Math.max(hello.first_seq, acked + 1);
    this.#options.onOpen();
    this.#acked(acked);
  }

  #acked(seq: number): void {
    if (seq <= this.#ackedSeq) return;
    this.#ackedSeq = seq;
    let done = 0;
    for (const flight of this.#flights) {
      if (flight.lastSeq > seq) break;
      this.#flightBytes -= flight.bytes;
      done++;
    }
    if (done > 0) this.#flights.splice(0, done);
    this.#options.spool.ack(seq);
    this.#options.onAck(seq);
  }

  /** Writes `bytes` and copies what the socket does not accept. Call it only when no earlier write is pending. */
  #send(bytes: Uint8Array): void {
    const written = this.#options.write(bytes);
    if (written >= bytes.length) return;
    this.#rest = bytes.slice(Math.max(0, written));
  }

  #flushRest(): void {
    if (this.#rest.length === 0 || this.#at === "ended") return;
    const written = this.#options.write(this.#rest);
    if (written > 0) this.#rest = this.#rest.subarray(written);
  }

  #bad(problem: string): void {
    this.#end({ at: "bad_server", problem });
  }

  #end(end: SessionEnd): void {
    if (this.#at === "ended") return;
    this.#at = "ended";
    this.#options.onEnd(end);
  }
}
