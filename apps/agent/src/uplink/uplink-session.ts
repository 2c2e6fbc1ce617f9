/**
 * The agent's end of one frame session (DESIGN §6), from hello to the end of the connection. It does no I/O: bytes from the
 * coordinator come in by `receive`, bytes for it go out through `write`. One is made for each connection by `uplink.ts`.
 *
 * greeting ─ welcome ─► open ─► ended;  greeting ─► ended. Ended is reported once, by `onEnd`.
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

/** Why a session ended by what was said in it. */
export type SessionEnd =
  | {
      readonly at: "rejected";
      readonly code: string;
      readonly message: string;
      readonly retryable: boolean;
    }
  | { readonly at: "bye"; readonly code: string }
  | { readonly at: "bad_server"; readonly problem: string };

/** What a session is connected to. */
export interface SessionOptions {
  readonly hello: Hello;
  readonly spool: Spool;
  /** Takes as many bytes as fit now and says how many; what is left follows after `drained`. −1 when the socket is gone. */
  readonly write: (bytes: Uint8Array) => number;
  readonly onOpen: () => void;
  /** Frames up to `seq` are acknowledged. */
  readonly onAck: (seq: number) => void;
  readonly onEnd: (end: SessionEnd) => void;
}

/** Most bytes handed to the socket at once. */
const WRITE_BYTES_MAX = 256 * 1024;
/** The largest window a coordinator is granted. */
const WINDOW_BYTES_MAX = 64 * 1024 * 1024;

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** Frames written together and not all acknowledged yet. */
interface Flight {
  readonly lastSeq: number;
  readonly bytes: number;
}

/**
 * Sends the spool's frames in order, each once a session, with at most `window_bytes` unacknowledged (one frame may be
 * larger than the whole window). Frames the spool dropped in the meantime are skipped by a `skip` line.
 */
export class UplinkSession {
  readonly #options: SessionOptions;
  readonly #lines = new LineDecoder(CONTROL_BYTES_MAX);
  #at: "greeting" | "open" | "ended" = "greeting";
  #windowBytes = 0;
  /** The number the coordinator will give to the next line. */
  #nextSeq = 1;
  #ackedSeq = 0;
  readonly #flights: Flight[] = [];
  #flightBytes = 0;
  /** What the socket has not taken yet of the last write. */
  #rest = NOTHING;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#at === "open";
  }

  /** Says hello. Call once, when the connection stands. */
  start(): void {
    this.#send(encoder.encode(encodeLine(this.#options.hello)));
  }

  /** Bytes from the coordinator, cut anywhere. */
  receive(chunk: Uint8Array): void {
    this.#lines.push(chunk, (bytes, start, end) => {
      if (this.#at === "ended") return;
      const line = parseServerLine(decoder.decode(bytes.subarray(start, end)));
      if (line === undefined) this.#bad("a line that is none of the protocol");
      else this.#handle(line);
    });
    if (this.#lines.oversized > 0) this.#bad("an endless line");
    this.pump();
  }

  /** The socket takes bytes again. */
  drained(): void {
    this.#flushRest();
    this.pump();
  }

  /** Sends what the window and the socket allow. Cheap when there is nothing to do. */
  pump(): void {
    const { spool, hello } = this.#options;
    if (this.#at === "open" && spool.spoolId !== hello.spool_id)
      return this.#bad("the spool has another id by now");
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

  /** Shows the coordinator that somebody is there, unless it has enough to read as it is. */
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

  /** Writes `bytes`, keeping a copy of what the socket did not take. Only called when nothing is left of the last write. */
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
