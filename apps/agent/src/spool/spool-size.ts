/** Computes the bounds of each sensor's spool, so that full spools in memory never make the kernel kill the agent. Pure. (A16) */
import type { OnFull, SpoolConfig } from "../config/spool.ts";

/** The bounds of one sensor's spool. Sizes count frames with their LFs; on disk they count whole files. */
export interface SpoolBounds {
  /** In memory and on disk together. */
  readonly bytesMax: number;
  /** In memory, while the disk accepts no writes. */
  readonly memoryBytesMax: number;
  /** Frames are dropped at this age, or up to an eighth of it later. Undefined: never. */
  readonly ageMaxMs: number | undefined;
  readonly onFull: OnFull;
}

const DISK_BYTES_DEFAULT = 256 * 1024 * 1024;
/** Enough for an outage of one minute at 1 MiB/s. */
const MEMORY_BYTES_DEFAULT = 64 * 1024 * 1024;
const BYTES_MIN = 64 * 1024;
/** Share of the container's memory for all spools; the agent, its sensors and socket buffers need the rest. */
const MEMORY_SHARE = 0.2;

/** What determines the bounds. `memoryMaxBytes` is the control group's limit; null without one. */
export interface SpoolSizeOptions {
  readonly config: SpoolConfig;
  /** Whether there is a state directory. */
  readonly hasDir: boolean;
  readonly sensors: number;
  readonly memoryMaxBytes: number | null;
}

/**
 * With a state directory: the configured size or 256 MiB, of which memory may hold no more than a spool without a directory
 * would by default. Without one: the configured size, or 64 MiB, or the sensor's share of a fifth of the container's memory if
 * that is less.
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
  const part = Math.floor((memoryMaxBytes * MEMORY_SHARE) / Math.max(1, sensors));
  return Math.max(BYTES_MIN, Math.min(MEMORY_BYTES_DEFAULT, part));
}
