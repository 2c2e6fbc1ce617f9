/**
 * Turns what a sensor writes to stdout into frames in its spool: splits lines, checks each, drops and counts what is none.
 * Keeps the balance produced = acked + spooled + Σ dropped. One for each sensor, across its runs. (A11, A16)
 */
import { type Clock, type Log, LogLimiter } from "@fleet/daemon";
import {
  type FrameProblem,
  FrameReader,
  LINE_BYTES_MAX,
  type OtherLine,
  type SensorCounters,
} from "@fleet/protocol";
import type { Spool } from "../spool/spool.ts";

const SAMPLE_BYTES = 200;
const LF_CHUNK = new Uint8Array([10]);
const CR = 13;
const SPACE = 32;
const TAB = 9;

/** Where the frames go. */
export interface SensorOutputOptions {
  readonly spool: Spool;
  readonly clock: Clock;
  readonly log: Log;
  /** The longest line, LF included; at most the wire's. */
  readonly lineBytesMax?: number;
  /** A line was dropped: which and why, in words. As seldom as the log hears of it. */
  readonly onDropped?: (text: string) => void;
}

/** See the head of this file. */
export class SensorOutput {
  readonly #spool: Spool;
  readonly #log: Log;
  readonly #complaints: LogLimiter;
  readonly #onDropped: (text: string) => void;
  #reader: FrameReader;
  #lineBytesMax: number;
  /** Lines that were too long. */
  #oversized = 0;
  readonly #dropped = new Map<string, number>();
  /** Lines that were no frames. */
  #noFrames = 0;

  constructor(options: SensorOutputOptions) {
    this.#spool = options.spool;
    this.#log = options.log;
    this.#complaints = new LogLimiter(options.clock);
    this.#onDropped = options.onDropped ?? (() => {});
    this.#lineBytesMax = options.lineBytesMax ?? LINE_BYTES_MAX;
    this.#reader = this.#newReader();
  }

  /** From the next run on lines may be this long. Not to be called during one. */
  limitLines(bytesMax: number): void {
    if (bytesMax === this.#lineBytesMax) return;
    this.#lineBytesMax = bytesMax;
    this.#reader = this.#newReader();
  }

  /** A piece of stdout, cut anywhere. A promise settles when the next piece should come: the spool is full and blocks. */
  push(chunk: Uint8Array): void | Promise<void> {
    this.#reader.push(chunk);
    return this.#spool.room();
  }

  /**
   * A run has ended. A last line without its LF counts when the sensor ended well; else it may be half a line and is
   * forgotten.
   */
  end(isClean: boolean): void {
    if (isClean && this.#reader.pendingBytes > 0) void this.push(LF_CHUNK);
    this.#reader.reset();
  }

  /** The balance of all runs; frames that are on disk since an earlier start of the agent included. */
  counters(): SensorCounters {
    const { appended, acked, held, dropped } = this.#spool.stats();
    const reasons = { ...Object.fromEntries(this.#dropped), ...dropped };
    const oversized = this.#oversized;
    if (oversized > 0) reasons["too_long"] = (reasons["too_long"] ?? 0) + oversized;
    return {
      produced: appended + this.#noFrames + oversized,
      acked,
      spooled: held,
      dropped: reasons,
    };
  }

  #newReader(): FrameReader {
    return new FrameReader(
      (bytes, start, end) => this.#spool.append(bytes, start, end),
      (problem, line) => this.#onOther(problem, line),
      this.#lineBytesMax,
    );
  }

  #onOther(problem: FrameProblem, line: OtherLine | undefined): void {
    if (line === undefined) {
      this.#oversized++;
      this.#complain("too_long", `more than ${this.#lineBytesMax} bytes`);
      return;
    }
    const { bytes, start, end } = line;
    if (isBlank(bytes, start, end)) return;
    this.#noFrames++;
    this.#drop(problem, bytes.subarray(start, Math.min(end, start + SAMPLE_BYTES)));
  }

  #drop(problem: string, sample: Uint8Array): void {
    this.#dropped.set(problem, (this.#dropped.get(problem) ?? 0) + 1);
    this.#complain(problem, () => new TextDecoder().decode(sample));
  }

  #complain(problem: string, sample: string | (() => string)): void {
    const held = this.#complaints.pass(problem);
    if (held === undefined) return;
    const line = typeof sample === "string" ? sample : sample();
    this.#log.warn({ problem, line, held_back: held }, "a line on stdout is not a frame; dropped");
    this.#onDropped(`a line on stdout is no frame (${problem}): ${line}`);
  }
}

function isBlank(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    if (byte !== SPACE && byte !== TAB && byte !== CR) return false;
  }
  return true;
}
