/** How much a sensor's spool may hold. In memory, a full spool must not end in the kernel killing the agent. Pure. (A16) */
import type { OnFull, SpoolConfig } from "../config/spool.ts";

/** What each sensor's spool is held to. Sizes count frames with their LFs, on disk whole files. */
export interface SpoolBounds {
  /** In all. */
  readonly bytesMax: number;
  /** In memory, while nothing can be written to disk. */
  readonly memoryBytesMax: number;
  /** Frames are dropped at this age, or up to an eighth of it later; undefined: never. */
  readonly ageMaxMs: number | undefined;
  readonly onFull: OnFull;
}

const DISK_BYTES_DEFAULT = 256 * 1024 * 1024;
/** The frames of a minute's outage at 1 MiB/s. */
const MEMORY_BYTES_DEFAULT = 64 * 1024 * 1024;
const BYTES_MIN = 64 * 1024;
/** Of the container's memory, for all spools together; the agent, its sensors and the kernel's socket buffers have the rest. */
const MEMORY_PART = 0.2;

/** What is known before the first sensor runs. `memoryMaxBytes` is the control group's limit, null without one. */
export interface SpoolSizeOptions {
  readonly config: SpoolConfig;
  /** There is a state directory. */
  readonly hasDir: boolean;
  readonly sensors: number;
  readonly memoryMaxBytes: number | null;
}

/**
 * With a state directory: as configured, else 256 MiB, of which in memory only what would be the default there. Without: as
 * configured, else 64 MiB or the sensor's part of a fifth of the container's memory when that is less.
 */
export function spoolBounds(options: SpoolSizeOptions): SpoolBounds {
  const { config, hasDir, sensors, memoryMaxBytes } = options;
  const { bytesMax: configured, ageMaxMs, onFull } = config;
  const byMemory = memoryDefault(sensors, memoryMaxBytes);
  const bytesMax = configured ?? (hasDir ? DISK_BYTES_DEFAULT : byMemory);
  const memoryBytesMax = hasDir ? Math.min(bytesMax, byMemory) : bytesMax;
  return { bytesMax, memoryBytesMax, ageMaxMs, onFull };
}

function memoryDefault(sensors: number, memoryMaxBytes: number | null): number {
  if (memoryMaxBytes === null) return MEMORY_BYTES_DEFAULT;
  const part = Math.floor((memoryMaxBytes * MEMORY_PART) / Math.max(1, sensors));
  return Math.max(BYTES_MIN, Math.min(MEMORY_BYTES_DEFAULT, part));
}
