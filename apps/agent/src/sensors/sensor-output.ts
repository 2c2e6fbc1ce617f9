/**
 * Turns what a sensor writes to stdout into frames in its spool: splits lines, checks each, drops and counts what is none.
 * Keeps the balance produced = acked + spooled + Σ dropped. One for each sensor, across its runs. (A11, A16)
 */
import { type Clock, type Log, LogLimiter } from "@fleet/daemon";
import {
  checkFrame,
  LINE_BYTES_MAX,
  LineDecoder,
  prepareFrames,
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
  #lines: LineDecoder;
  #lineBytesMax: number;
  /** Lines that were too long for decoders that are gone. */
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
    this.#lines = new LineDecoder(this.#lineBytesMax);
  }

  /** From the next run on lines may be this long. Not to be called during one. */
  limitLines(bytesMax: number): void {
    if (bytesMax === this.#lineBytesMax) return;
    this.#oversized += this.#lines.oversized;
    this.#lineBytesMax = bytesMax;
    this.#lines = new LineDecoder(bytesMax);
  }

  /** A piece of stdout, cut anywhere. A promise settles when the next piece should come: the spool is full and blocks. */
  push(chunk: Uint8Array): void | Promise<void> {
    prepareFrames(chunk);
    this.#lines.push(chunk, this.#onLine, this.#onOversized);
    return this.#spool.room();
  }

  /**
   * A run has ended. A last line without its LF counts when the sensor ended well; else it may be half a line and is
   * forgotten.
   */
  end(isClean: boolean): void {
    if (isClean && this.#lines.pendingBytes > 0) void this.push(LF_CHUNK);
    this.#lines.reset();
  }

  /** The balance of all runs; frames that are on disk since an earlier start of the agent included. */
  counters(): SensorCounters {
    const { appended, acked, held, dropped } = this.#spool.stats();
    const reasons = { ...Object.fromEntries(this.#dropped), ...dropped };
    const oversized = this.#oversized + this.#lines.oversized;
    if (oversized > 0) reasons["too_long"] = (reasons["too_long"] ?? 0) + oversized;
    return {
      produced: appended + this.#noFrames + oversized,
      acked,
      spooled: held,
      dropped: reasons,
    };
  }

  readonly #onLine = (bytes: Uint8Array, start: number, end: number): void => {
    const verdict = checkFrame(bytes, start, end);
    if (verdict.at === "frame") {
      this.#spool.append(bytes, start, end);
    } else if (verdict.at === "reencoded") {
      this.#spool.append(verdict.replacement, 0, verdict.replacement.length - 1);
    } else if (!isBlank(bytes, start, end)) {
      this.#noFrames++;
      this.#drop(verdict.problem, bytes.subarray(start, Math.min(end, start + SAMPLE_BYTES)));
    }
  };

  readonly #onOversized = (): void =>
    this.#complain("too_long", `more than ${this.#lineBytesMax} bytes`);

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
