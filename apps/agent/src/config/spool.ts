/** The `spool` section of the config: how many unacknowledged frames a sensor may keep, and what happens above that. (A16) */

/** What happens to new frames while a spool is full. `block` stops reading the sensor's output. */
export const ON_FULL = ["drop_oldest", "drop_newest", "block"] as const;
export type OnFull = (typeof ON_FULL)[number];

/** The `spool` section. */
export interface SpoolConfig {
  /** Per sensor. Undefined: derived from the place of the spool and the available memory. */
  readonly bytesMax: number | undefined;
  /** Undefined: frames have no age limit. */
  readonly ageMaxMs: number | undefined;
  readonly onFull: OnFull;
}
