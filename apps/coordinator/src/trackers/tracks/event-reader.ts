/**
 * Reads what the tracker of one stream prints, run by run, and passes each track event to the view, the files and the bus.
 * A run that is given frames of the one before says again what that one has said of them: this is not passed on. (T5, T9)
 */
import type { Clock } from "@fleet/daemon";
import { LineDecoder, type StreamId } from "@fleet/protocol";
import type { Bus } from "../../bus.ts";
import type { SentLines } from "../feed/redelivery-buffer.ts";
import type { TrackLog } from "./track-log.ts";
import { readEvent, type LatestTracks } from "./latest-tracks.ts";

/** Longest tracker event: longer than the 1 MiB of a frame, since events are many times their input. */
const EVENT_BYTES_MAX = 4 * 1024 * 1024;

/** The frame of which events were passed on last, and how many. */
interface Said {
  readonly timestamp: number;
  events: number;
}

/** What a run is expected to say again. */
interface Repeats {
  readonly run: number;
  /** Frames of which an earlier run has said all it had to say. */
  readonly said: ReadonlySet<number>;
  /** The frame after them, and how many of its events have been passed on. */
  readonly last: number;
  lastEvents: number;
}

/** Where events go. */
export interface EventReaderDeps {
  readonly clock: Clock;
  readonly bus: Bus;
  readonly trackLog: TrackLog;
}

/** Belongs to one tracker. */
export class EventReader {
  /** Lines that were not track events. */
  badLines = 0;
  /** Events that were not passed on, since an earlier run had said them. */
  repeatedEvents = 0;
  #said: Said | undefined;
  #repeats: Repeats | undefined;
  readonly #deps: EventReaderDeps;
  readonly #streamId: StreamId;
  readonly #view: LatestTracks;
  readonly #decoders = new Map<number, LineDecoder>();

  constructor(deps: EventReaderDeps, streamId: StreamId, view: LatestTracks) {
    this.#deps = deps;
    this.#streamId = streamId;
    this.#view = view;
  }

  /** `run` begins, and is given `again` before anything new. */
  beginRun(run: number, again: readonly SentLines[]): void {
    this.#repeats = undefined;
    if (this.#said === undefined || again.length === 0) return;
    const { timestamp: last, events: lastEvents } = this.#said;
    const timestamps = again.flatMap(({ bytes }) => timestampsOf(bytes));
    const at = timestamps.lastIndexOf(last);
    if (at < 0) return;
    this.#repeats = { run, said: new Set(timestamps.slice(0, at)), last, lastEvents };
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
      () => this.badLines++,
    );
  }

  /** `run` is over: half a line it left is forgotten. */
  endRun(run: number): void {
    this.#decoders.delete(run);
  }

  #onLine(bytes: Uint8Array, start: number, end: number, run: number): void {
    const event = readEvent(bytes, start, end);
    if (event === undefined) {
      this.badLines++;
      return;
    }
    if (this.#isRepeated(run, event.timestamp)) {
      this.repeatedEvents++;
      return;
    }
    this.#note(event.timestamp);
    const { clock, trackLog, bus } = this.#deps;
    const atMs = clock.nowMs();
    this.#view.add(event, bytes, start, run, atMs);
    trackLog.write(this.#streamId, bytes, start, event.end, run);
    if (bus.isIdle) return;
    bus.publish({
      kind: "track",
      streamId: this.#streamId,
      atMs,
      data: { track_id: event.trackId, run },
    });
  }

  /** The first event of a frame that nothing was said of ends it. */
  #isRepeated(run: number, timestamp: number | undefined): boolean {
    const repeats = this.#repeats;
    if (repeats?.run !== run || timestamp === undefined) return false;
    if (timestamp === repeats.last) return repeats.lastEvents-- > 0;
    if (repeats.said.has(timestamp)) return true;
    this.#repeats = undefined;
    return false;
  }

  #note(timestamp: number | undefined): void {
    if (timestamp === undefined) return;
    if (this.#said?.timestamp === timestamp) this.#said.events++;
    else this.#said = { timestamp, events: 1 };
  }
}

/** The timestamps of frames, one a line; the end of the last line may be missing. */
function timestampsOf(lines: Uint8Array): number[] {
  return Buffer.from(lines.buffer, lines.byteOffset, lines.length)
    .toString("latin1")
    .split("\n")
    .flatMap((line) => {
      try {
        const { timestamp } = JSON.parse(line) as { timestamp?: unknown };
        return typeof timestamp === "number" ? [timestamp] : [];
      } catch {
        return [];
      }
    });
}
