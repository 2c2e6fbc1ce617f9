/** The `spool` section of the config: how much a sensor may keep unacknowledged, and what happens beyond that. (A16) */

/** What may happen to frames that come while a spool is full. `block` leaves the sensor's output unread. */
export const ON_FULL = ["drop_oldest", "drop_newest", "block"] as const;
export type OnFull = (typeof ON_FULL)[number];

/** `spool:` of the config. */
export interface SpoolConfig {
  /** For each sensor; undefined: it follows from where the spool is and what memory there is. */
  readonly bytesMax: number | undefined;
  /** Undefined: no frame is too old. */
  readonly ageMaxMs: number | undefined;
  readonly onFull: OnFull;
}
