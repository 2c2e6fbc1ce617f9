/**
 * Connects a byte stream to the tracker: splits it into lines, parses frames, and applies backpressure from the output. Its
 * state outlives the clients. Fed by `tcp-input.ts` or from a file; constructed by `main.ts`.
 */
import { LineDecoder } from "@fleet/protocol";
import type { TrackerConfig } from "./config.ts";
import { type Counters, createCounters, summarize } from "./events/counters.ts";
import type { EventOutput } from "./events/event-output.ts";
import { parseLine } from "./input/frame.ts";
import { Tracker } from "./tracker.ts";

/** Bytes processed between two checks of the output. Events are up to 30 times as long as the frames that cause them. */
const SLICE_BYTES = 16 * 1024;

export class Session {
  readonly counters: Counters = createCounters();
  readonly #output: EventOutput;
  readonly #report: (line: string) => void;
  readonly #decoder = new LineDecoder();
  readonly #tracker: Tracker;

  /**
   * `report` receives single lines: the summary of the counters at each RESET, and what was learned about the stream.
   * `explain`, if defined, receives the reasons why tracks are born and dropped.
   */
  constructor(
    config: TrackerConfig,
    output: EventOutput,
    report: (line: string) => void,
    explain: ((line: string) => void) | undefined,
  ) {
    this.#output = output;
    this.#report = report;
    this.#tracker = new Tracker(config, this.counters, { events: output, report, explain });
  }

  /**
   * Processes bytes and starts writing the resulting events. Never fails, whatever the bytes are. Returns a promise when the
   * output is full; the caller must not push again before it resolves.
   */
  push(chunk: Uint8Array): Promise<void> | undefined {
    const used = this.#pushUntilFull(chunk);
    // The rest must be copied, because the caller may reuse the chunk after this returns.
    return used === chunk.length ? undefined : this.#pushRest(chunk.slice(used));
  }

  async #pushRest(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0; rest = rest.subarray(this.#pushUntilFull(rest))) {
      await this.#output.untilDrained();
    }
  }

  /** Processes bytes until the output is full and returns their number. */
  #pushUntilFull(chunk: Uint8Array): number {
    let end = 0;
    while (end < chunk.length && !this.#output.isFull) {
      const start = end;
      end = Math.min(chunk.length, start + SLICE_BYTES);
      this.#decoder.push(chunk.subarray(start, end), this.#onLine);
      this.#output.pump();
    }
    return end;
  }

  /** Reports the end of a client: discards its incomplete line and keeps the tracks. */
  endClient(): void {
    this.#decoder.reset();
  }

  summary(): string {
    this.counters.oversizedLines = this.#decoder.oversized;
    return summarize(this.counters);
  }

  readonly #onLine = (bytes: Uint8Array, start: number, end: number): void => {
    const line = parseLine(bytes, start, end);
    switch (line.is) {
      case "frame":
        this.#tracker.process(line.frame);
        return;
      case "reset":
        this.counters.resets++;
        this.#tracker.reset();
        this.#report(`reset: ${this.summary()}`);
        return;
      case "skipped":
        this.counters.skipped[line.reason]++;
        return;
      case "blank":
        return;
    }
  };
}
