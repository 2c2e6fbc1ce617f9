/** Encodes the event of a confirmed track at each detection, in the format of the public retina-tracker. (T10) */
import type { Track } from "../tracks/track.ts";

/** The destination of events, implemented by `EventOutput`. */
export interface EventWriter {
  /** Appends a copy of the bytes. */
  write(bytes: Uint8Array): void;
  writeText(text: string): void;
}

/**
 * Writes the event as one LF-terminated line of JSON: `track_id`, `adsb_hex`, `adsb_initialized`, `timestamp` (ms),
 * `length` (detections so far), `detections` (the latest, oldest first), `is_anomalous`, `max_velocity_ms`,
 * `anomaly_types`.
 */
export function writeTrackEvent(
  writer: EventWriter,
  id: string,
  track: Track,
  timestampMs: number,
): void {
  const hex = track.adsbHex === null ? "null" : JSON.stringify(track.adsbHex);
  writer.writeText(
    `{"track_id":"${id}","adsb_hex":${hex},"adsb_initialized":${track.adsbInitialized},` +
      `"timestamp":${timestampMs},"length":${track.length},"detections":[`,
  );
  writer.write(track.history.json);
  writer.writeText(`],${track.anomalies.json}\n`);
}

const MS_PER_DAY = 86_400_000;
const ID_HEX_DIGITS = 6;

/** `YYMMDD-00001F`: the UTC date of `timestampMs` and a hexadecimal counter, unique within one run of the process. */
export function trackId(timestampMs: number, counter: number): string {
  const day = new Date(Math.floor(timestampMs / MS_PER_DAY) * MS_PER_DAY).toISOString();
  const date = day.slice(0, day.indexOf("T")).replaceAll("-", "");
  return `${date.slice(-6)}-${counter.toString(16).toUpperCase().padStart(ID_HEX_DIGITS, "0")}`;
}
