/** The line written for a confirmed track at each detection, as the public retina-tracker writes it. (T10) */
import type { Track } from "./track.ts";

const encoder = new TextEncoder();
const VELOCITY_DECIMALS = 1;

/**
 * The event as one LF-terminated line of JSON: `track_id`, `adsb_hex`, `adsb_initialized`, `timestamp` (ms), `length`
 * (detections so far), `detections` (the latest, oldest first), `is_anomalous`, `max_velocity_ms`, `anomaly_types`.
 */
export function encodeTrackEvent(id: string, track: Track, timestampMs: number): Uint8Array {
  const { types, maxVelocityMs } = track.anomalies;
  const head = encoder.encode(
    `{"track_id":"${id}","adsb_hex":${JSON.stringify(track.adsbHex)},` +
      `"adsb_initialized":${track.adsbInitialized},"timestamp":${timestampMs},"length":${track.length},"detections":[`,
  );
  const tail = encoder.encode(
    `],"is_anomalous":${types.length > 0},"max_velocity_ms":${maxVelocityMs.toFixed(VELOCITY_DECIMALS)},` +
      `"anomaly_types":${JSON.stringify(types)}}\n`,
  );
  const detections = track.history.json;
  const line = new Uint8Array(head.length + detections.length + tail.length);
  line.set(head);
  line.set(detections, head.length);
  line.set(tail, head.length + detections.length);
  return line;
}

const MS_PER_DAY = 86_400_000;
const ID_HEX_DIGITS = 6;

/** `YYMMDD-00001F`: the UTC day of `timestampMs` and a counter in hexadecimal, unique within one run of the process. */
export function trackId(timestampMs: number, counter: number): string {
  const day = new Date(Math.floor(timestampMs / MS_PER_DAY) * MS_PER_DAY).toISOString();
  const date = day.slice(0, day.indexOf("T")).replaceAll("-", "");
  return `${date.slice(-6)}-${counter.toString(16).toUpperCase().padStart(ID_HEX_DIGITS, "0")}`;
}
