/** The latest event of each track of one stream, for `GET trackers/{stream}/tracks`; in memory, bounded by TRACKS_MAX. (T9) */

/** Tracks kept for each stream; the one without an event for the longest time is dropped first. */
export const TRACKS_MAX = 100;
/** How long a track counts as live after its latest event, ms. */
const LIVE_MS = 10_000;

/**
 * Matches the beginning of an event. Public trackers write the id first and the timestamp before anything nested, so both are
 * found without parsing 2–4 kB of JSON. Other events, and those with non-ASCII bytes, are parsed.
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

/** A track event in a line of tracker output. */
export interface TrackEvent {
  readonly trackId: string;
  /** The timestamp of the frame that the event is about; undefined when the tracker does not print it. */
  readonly timestamp: number | undefined;
  /** Where the JSON object ends in the line. */
  readonly end: number;
}

/** Reads the line `bytes[start..end)`. Returns undefined when it is not a track event. */
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

/** The latest tracks of one stream. */
export class LatestTracks {
  /** Events so far. */
  events = 0;
  /** Tracks so far; the same id in another run is another track. */
  tracks = 0;
  readonly #latest = new Map<string, Track>();

  /** Adds an event, and copies its bytes. */
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

  /** The number of tracks with an event in the last 10 s. */
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
