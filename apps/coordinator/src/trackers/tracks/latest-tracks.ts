/** The latest event of each track of one stream, in memory and bounded, for `GET trackers/{stream}/tracks`. (T9) */

/** Tracks remembered for each stream; the one longest without an event is forgotten first. */
export const TRACKS_MAX = 100;
/** How long after its last event a track counts as live, ms. */
const LIVE_MS = 10_000;

/**
 * Public trackers write the id first and the time before all that is nested, so that both are found without parsing 2–4 kB
 * of JSON. An event that looks otherwise, or isn't ASCII, is parsed.
 */
const LEADING =
  /^\{\s*"track_id"\s*:\s*"([^"\\\x80-\xff]{1,128})"[^{[\x80-\xff]*?"timestamp"\s*:\s*(-?\d+(?:\.\d+)?)\s*[,}]/;
const HEAD_BYTES = 240;
const RBRACE = 125;
const WHITE_SPACE_MAX = 32;

interface Track {
  readonly bytes: Uint8Array;
  readonly run: number;
  readonly atMs: number;
}

/** One line of tracker output: the object's place in the line, the track it is about, and the frame it comes from. */
export interface TrackEvent {
  readonly trackId: string;
  /** The frame's time as the tracker gives it back; undefined when it doesn't. */
  readonly timestamp: number | undefined;
  readonly end: number;
}

/** Reads an event line, `bytes[start..end)`. Undefined when it is not a track event. */
export function readEvent(bytes: Uint8Array, start: number, end: number): TrackEvent | undefined {
  while (end > start && bytes[end - 1]! <= WHITE_SPACE_MAX) end--;
  if (bytes[end - 1] !== RBRACE) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = LEADING.exec(view.toString("latin1", start, Math.min(end, start + HEAD_BYTES)));
  if (found !== null) return { trackId: found[1]!, timestamp: Number(found[2]), end };
  return parseEvent(view.toString("utf8", start, end), end);
}

function parseEvent(text: string, end: number): TrackEvent | undefined {
  try {
    const value = JSON.parse(text) as { track_id?: unknown; timestamp?: unknown } | null;
    if (typeof value?.track_id !== "string") return undefined;
    const { track_id: trackId, timestamp } = value;
    return { trackId, timestamp: typeof timestamp === "number" ? timestamp : undefined, end };
  } catch {
    return undefined;
  }
}

/** What is known of one stream's tracks. */
export class LatestTracks {
  /** Events seen. */
  events = 0;
  /** Different tracks seen; ids of different runs are different tracks. */
  tracks = 0;
  readonly #latest = new Map<string, Track>();

  /** Remembers an event; copies it. */
  add(event: TrackEvent, bytes: Uint8Array, start: number, run: number, atMs: number): void {
    this.events++;
    const key = `${run}/${event.trackId}`;
    if (!this.#latest.delete(key)) this.tracks++;
    this.#latest.set(key, { bytes: bytes.slice(start, event.end), run, atMs });
    if (this.#latest.size > TRACKS_MAX) {
      for (const oldest of this.#latest.keys()) {
        this.#latest.delete(oldest);
        break;
      }
    }
  }

  /** How many tracks had an event in the last 10 s. */
  live(nowMs: number): number {
    let count = 0;
    for (const track of this.#latest.values()) if (nowMs - track.atMs <= LIVE_MS) count++;
    return count;
  }

  /** The latest events, newest first, each with its `run`. */
  list(): ({ track_id: string; run: number } & Record<string, unknown>)[] {
    return [...this.#latest.values()].toReversed().flatMap(({ bytes, run }) => {
      try {
        const event = JSON.parse(Buffer.from(bytes).toString("utf8")) as { track_id: string };
        return [{ ...event, run }];
      } catch {
        return [];
      }
    });
  }
}
