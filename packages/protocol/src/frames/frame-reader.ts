/**
 * Turns a byte stream of lines into checked frames: the one sequence of steps that the agent's end (a sensor's stdout) and
 * the coordinator's end (a session) share. No I/O: chunks come in by `push`, frames go out by callback. (T1, A11)
 */
import { checkFrame, type FrameProblem } from "./frame.ts";
import { prepareFrames } from "./frame-scan-wasm.ts";
import { LineDecoder } from "./lines.ts";

/**
 * Receives one frame: the line `bytes[start..end)` in ASCII, with its LF at `bytes[end]`. `bytes` is the pushed chunk itself
 * when the line lies in it unaltered; otherwise it is only valid during the call.
 */
export type OnFrame = (bytes: Uint8Array, start: number, end: number) => void;

/** A line that is not a frame: `bytes[start..end)`, only valid during the call. */
export interface OtherLine {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** The line's content where it is a JSON object, such as a control message. */
  readonly object: Record<string, unknown> | undefined;
}

/** Receives one line that is not a frame, and why. Without a line: it was too long to be kept. */
export type OnOther = (problem: FrameProblem, line: OtherLine | undefined) => void;

/** Reads the frames of one stream of bytes. */
export class FrameReader {
  readonly #decoder: LineDecoder;
  readonly #onFrame: OnFrame;
  readonly #onOther: OnOther;

  /** A line is at most `lineBytesMax` long, LF included; LINE_BYTES_MAX when left out. */
  constructor(onFrame: OnFrame, onOther: OnOther, lineBytesMax?: number) {
    this.#onFrame = onFrame;
    this.#onOther = onOther;
    this.#decoder = new LineDecoder(lineBytesMax);
  }

  /** Bytes of the unfinished line at the end of what was pushed. */
  get pendingBytes(): number {
    return this.#decoder.pendingBytes;
  }

  /** Reads a chunk, and calls back for each line that it completes, in order. */
  push(chunk: Uint8Array): void {
    prepareFrames(chunk);
    this.#decoder.push(chunk, this.#onLine, this.#onOversized);
  }

  /** Calls back for no further line, not even of the chunk that is being read. */
  stop(): void {
    this.#decoder.stop();
  }

  /** Drops an unfinished line. */
  reset(): void {
    this.#decoder.reset();
  }

  readonly #onLine = (bytes: Uint8Array, start: number, end: number): void => {
    const verdict = checkFrame(bytes, start, end);
    if (verdict.at === "frame") {
      this.#onFrame(bytes, start, end);
    } else if (verdict.at === "reencoded") {
      this.#onFrame(verdict.replacement, 0, verdict.replacement.length - 1);
    } else {
      this.#onOther(verdict.problem, { bytes, start, end, object: verdict.object });
    }
  };

  readonly #onOversized = (): void => this.#onOther("too_long", undefined);
}
