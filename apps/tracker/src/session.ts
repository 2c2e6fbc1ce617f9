/**
 * Lines in, events out: the tracker between a byte stream and an output. Its state outlives any one client.
 * Fed by `tcp-input.ts` or from a file; built by `main.ts`.
 */
import { LineDecoder } from "@fleet/protocol";
import type { TrackerConfig } from "./config.ts";
import { type Counters, createCounters, summarize } from "./events/counters.ts";
import type { EventOutput } from "./events/event-output.ts";
import { parseLine } from "./input/frame.ts";
import { Tracker } from "./tracker.ts";

/** Bytes taken in between two looks at the output: events are up to 30 times as long as the frames that cause them. */
const SLICE_BYTES = 16 * 1024;

export class Session {
  readonly counters: Counters = createCounters();
  readonly #output: EventOutput;
  readonly #report: (line: string) => void;
  readonly #decoder = new LineDecoder();
  readonly #tracker: Tracker;

  /**
   * `report` gets the counters' summary, one line, at each RESET, and what was learned about the stream; `explain`, unless
   * undefined, why tracks come and go.
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
   * Takes bytes in and starts writing the events they cause. Never fails on account of what they hold. Gives a promise
   * when the output is too full to go on at once: no more may be pushed until it is fulfilled.
   */
  push(chunk: Uint8Array): Promise<void> | undefined {
    const taken = this.#take(chunk);
    // The bytes belong to the caller once this returns.
    return taken === chunk.length ? undefined : this.#takeLater(chunk.slice(taken));
  }

  async #takeLater(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0; rest = rest.subarray(this.#take(rest))) {
      await this.#output.untilDrained();
    }
  }

  /** Takes bytes in until the output is full; gives how many. */
  #take(chunk: Uint8Array): number {
    let end = 0;
    while (end < chunk.length && !this.#output.isFull) {
      const start = end;
      end = Math.min(chunk.length, start + SLICE_BYTES);
      this.#decoder.push(chunk.subarray(start, end), this.#onLine);
      this.#output.pump();
    }
    return end;
  }

  /** The client has gone: what it left of a line is forgotten, tracks are kept. */
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
