/**
 * Turns a sensor's stdout into frames in its spool: splits it into lines, checks each, and drops and counts lines that are not
 * frames. Keeps the balance produced = acked + spooled + Σ dropped. One per sensor, across its runs. (A11, A16)
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

/** How an output is set up. */
export interface SensorOutputOptions {
  readonly spool: Spool;
  readonly clock: Clock;
  readonly log: Log;
  /** The longest line, LF included; at most LINE_BYTES_MAX, the default. */
  readonly lineBytesMax?: number;
  /** Gets a sentence about a dropped line, as often as it is logged. */
  readonly onDropped?: (text: string) => void;
}

/** The line splitter, frame check and counters of one sensor. */
export class SensorOutput {
  readonly #spool: Spool;
  readonly #log: Log;
  readonly #complaints: LogLimiter;
  readonly #onDropped: (text: string) => void;
  #reader: FrameReader;
  #lineBytesMax: number;
  /** Lines longer than the limit. */
  #oversized = 0;
  readonly #dropped = new Map<string, number>();
  /** Lines that were not frames. */
  #notFrames = 0;

  constructor(options: SensorOutputOptions) {
    this.#spool = options.spool;
    this.#log = options.log;
    this.#complaints = new LogLimiter(options.clock);
    this.#onDropped = options.onDropped ?? (() => {});
    this.#lineBytesMax = options.lineBytesMax ?? LINE_BYTES_MAX;
    this.#reader = this.#newReader();
  }

  /** Sets the longest line from the next run on. Call it only between runs. */
  limitLines(bytesMax: number): void {
    if (bytesMax === this.#lineBytesMax) return;
    this.#lineBytesMax = bytesMax;
    this.#reader = this.#newReader();
  }

  /** Takes a chunk of stdout, cut anywhere. If the spool is full and blocks, the promise settles when it accepts more. */
  push(chunk: Uint8Array): void | Promise<void> {
    this.#reader.push(chunk);
    return this.#spool.room();
  }

  /**
   * Ends a run. A last line without LF counts if the sensor exited cleanly; otherwise it may be incomplete and is discarded.
   */
  end(isClean: boolean): void {
    if (isClean && this.#reader.pendingBytes > 0) void this.push(LF_CHUNK);
    this.#reader.reset();
  }

  /** The balance of all runs, including frames on disk from earlier starts of the agent. */
  counters(): SensorCounters {
    const { appended, acked, held, dropped } = this.#spool.stats();
    const reasons = { ...Object.fromEntries(this.#dropped), ...dropped };
    const oversized = this.#oversized;
    if (oversized > 0) reasons["too_long"] = (reasons["too_long"] ?? 0) + oversized;
    return {
      produced: appended + this.#notFrames + oversized,
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
    this.#notFrames++;
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
    this.#log.warn(
      { problem, line, held_back: held },
      "dropped a line on stdout that is not a frame",
    );
    this.#onDropped(`dropped a line on stdout that is not a frame (${problem}): ${line}`);
  }
}

function isBlank(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    if (byte !== SPACE && byte !== TAB && byte !== CR) return false;
  }
  return true;
}
