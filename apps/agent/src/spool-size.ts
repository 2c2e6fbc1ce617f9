/** How much a sensor's spool may hold where the config does not say. In memory, a full spool must not end in the kernel killing the agent. Pure. (A16) */

/** The frames of a minute's outage at 1 MiB/s. */
const BYTES_DEFAULT = 64 * 1024 * 1024;
const BYTES_MIN = 64 * 1024;
/** Of the container's memory, for all spools together; the agent, its sensors and the kernel's socket buffers have the rest. */
const MEMORY_PART = 0.2;

/** What is known before the first sensor runs. `memoryMaxBytes` is the control group's limit, null without one. */
export interface SpoolSizeOptions {
  /** `spool.bytes_max` of the config, for each sensor. */
  readonly configured: number | undefined;
  readonly sensors: number;
  readonly memoryMaxBytes: number | null;
}

/** For each sensor: as configured, else 64 MiB, or its part of a fifth of the container's memory when that is less. */
export function spoolBytesMax({ configured, sensors, memoryMaxBytes }: SpoolSizeOptions): number {
  if (configured !== undefined) return configured;
  if (memoryMaxBytes === null) return BYTES_DEFAULT;
  const part = Math.floor((memoryMaxBytes * MEMORY_PART) / Math.max(1, sensors));
  return Math.max(BYTES_MIN, Math.min(BYTES_DEFAULT, part));
}
