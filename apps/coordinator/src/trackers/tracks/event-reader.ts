/**
 * Reads the track events that the tracker of one stream prints, and passes each to LatestTracks, the track log and the bus.
 * A run that is sent frames again repeats the events of the run before; these are counted and not passed on. (T5, T9)
 */
import type { Clock } from "@fleet/daemon";
import { LineDecoder, type StreamId } from "@fleet/protocol";
import type { Bus } from "../../bus.ts";
import type { SentLines } from "../feed/redelivery-buffer.ts";
import type { TrackLog } from "./track-log.ts";
import { readEvent, type LatestTracks } from "./latest-tracks.ts";

/** The longest event, in bytes. It is longer than a frame, because a tracker prints many times what it reads. */
const EVENT_BYTES_MAX = 4 * 1024 * 1024;

/** The frame whose events were passed on last, and their number. */
interface LastFrame {
  readonly timestamp: number;
  events: number;
}

/** What a run is expected to repeat. Frames are named by their timestamps. */
interface Repeats {
  readonly run: number;
  /** Frames whose events have all been passed on. */
  readonly complete: ReadonlySet<number>;
  /** The frame after them, and the number of its events that have been passed on. */
  readonly last: number;
  lastEvents: number;
}

/** Where events go. */
export interface EventReaderDeps {
  readonly clock: Clock;
  readonly bus: Bus;
  readonly trackLog: TrackLog;
}

/** Reads the events of one tracker, across its runs. */
export class EventReader {
  /** Lines that were not track events. */
  badLines = 0;
  /** Events that were not passed on, because they repeat those of an earlier run. */
  repeatedEvents = 0;
  #lastFrame: LastFrame | undefined;
  #repeats: Repeats | undefined;
  readonly #deps: EventReaderDeps;
  readonly #streamId: StreamId;
  readonly #tracks: LatestTracks;
  readonly #decoders = new Map<number, LineDecoder>();

  constructor(deps: EventReaderDeps, streamId: StreamId, tracks: LatestTracks) {
    this.#deps = deps;
    this.#streamId = streamId;
    this.#tracks = tracks;
  }

  /** Begins a run, which is sent `redelivery` before new frames. */
  beginRun(run: number, redelivery: readonly SentLines[]): void {
    this.#repeats = undefined;
    if (this.#lastFrame === undefined || redelivery.length === 0) return;
    const { timestamp: last, events: lastEvents } = this.#lastFrame;
    const timestamps = redelivery.flatMap(({ bytes }) => timestampsOf(bytes));
    const at = timestamps.lastIndexOf(last);
    if (at < 0) return;
    this.#repeats = { run, complete: new Set(timestamps.slice(0, at)), last, lastEvents };
  }

  /** Reads a chunk of the output of `run`. */
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

  /** Ends a run, and drops an unfinished line of it. */
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
    this.#tracks.add(event, bytes, start, run, atMs);
    trackLog.write(this.#streamId, bytes, start, event.end, run);
    if (bus.isIdle) return;
    bus.publish({
      kind: "track",
      streamId: this.#streamId,
      atMs,
      data: { track_id: event.trackId, run },
    });
  }

  /** Whether an event was passed on before. The first event of another frame ends the repeats of the run. */
  #isRepeated(run: number, timestamp: number | undefined): boolean {
    const repeats = this.#repeats;
    if (repeats?.run !== run || timestamp === undefined) return false;
    if (timestamp === repeats.last) return repeats.lastEvents-- > 0;
    if (repeats.complete.has(timestamp)) return true;
    this.#repeats = undefined;
    return false;
  }

  #note(timestamp: number | undefined): void {
    if (timestamp === undefined) return;
    if (this.#lastFrame?.timestamp === timestamp) this.#lastFrame.events++;
    else this.#lastFrame = { timestamp, events: 1 };
  }
}

/** The timestamps of frames, one on each line; the last line may be incomplete. */
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
