/** Reads what the tracker of one stream prints, run by run, and passes each track event to the view, the files and the bus. (T9) */
import type { Clock } from "@fleet/daemon";
import { LineDecoder, type StreamId } from "@fleet/protocol";
import type { Bus } from "../bus.ts";
import type { Output } from "./output.ts";
import { readEvent, type TrackView } from "./track-view.ts";

/** Longest tracker event: longer than the 1 MiB of a frame, since events are many times their input. */
const EVENT_BYTES_MAX = 4 * 1024 * 1024;

/** Where events go. */
export interface EventReaderDeps {
  readonly clock: Clock;
  readonly bus: Bus;
  readonly output: Output;
}

/** Belongs to one tracker. */
export class EventReader {
  /** Lines that were not track events. */
  bad = 0;
  readonly #deps: EventReaderDeps;
  readonly #streamId: StreamId;
  readonly #view: TrackView;
  readonly #decoders = new Map<number, LineDecoder>();

  constructor(deps: EventReaderDeps, streamId: StreamId, view: TrackView) {
    this.#deps = deps;
    this.#streamId = streamId;
    this.#view = view;
  }

  /** A piece of what `run` printed. */
  push(chunk: Uint8Array, run: number): void {
    let decoder = this.#decoders.get(run);
    if (decoder === undefined) {
      decoder = new LineDecoder(EVENT_BYTES_MAX);
      this.#decoders.set(run, decoder);
    }
    decoder.push(
      chunk,
      (bytes, start, end) => this.#onLine(bytes, start, end, run),
      () => this.bad++,
    );
  }

  /** `run` is over: half a line it left is forgotten. */
  endRun(run: number): void {
    this.#decoders.delete(run);
  }

  #onLine(bytes: Uint8Array, start: number, end: number, run: number): void {
    const event = readEvent(bytes, start, end);
    if (event === undefined) {
      this.bad++;
      return;
    }
    const { clock, output, bus } = this.#deps;
    const atMs = clock.nowMs();
    this.#view.add(event, bytes, start, run, atMs);
    output.write(this.#streamId, bytes, start, event.end, run);
    if (bus.idle) return;
    bus.publish({
      topic: `track.${this.#streamId}`,
      atMs,
      data: { stream_id: this.#streamId, track_id: event.trackId, run },
    });
  }
}
