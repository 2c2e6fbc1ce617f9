/** Checks that spools in memory fit into the container's memory limit. Pure. (A9, A16) */
import { type Check, fail, ok, warn } from "./check.ts";

/** Each sensor's spool holds up to `bytesMax`; `memoryMaxBytes` is the control group's limit, null without one. */
export interface SpoolCheckOptions {
  readonly sensors: number;
  readonly bytesMax: number;
  /** There is a state directory: the spools are on disk, and their share of memory is derived from the limit. */
  readonly hasDir: boolean;
  readonly memoryMaxBytes: number | null;
}

/** The agent itself and its sensors need memory, too. */
const WARN_SHARE = 0.5;

/** Compares full spools with the limit, so that no outage makes the kernel kill the agent. No check without sensors. */
export function checkSpool(options: SpoolCheckOptions): Check[] {
  const { sensors, bytesMax, hasDir, memoryMaxBytes } = options;
  if (sensors === 0) return [];
  const wholeBytes = sensors * bytesMax;
  const data = { bytes_max: bytesMax, sensors, memory_max_bytes: memoryMaxBytes };
  const each = sensors === 1 ? "the one sensor" : `each of ${sensors} sensors`;
  const whole = `${hasDir ? "on disk" : "in memory"}, up to ${mebibytes(bytesMax)} for ${each}`;
  if (hasDir) return [ok("spool", whole, { data })];
  if (memoryMaxBytes === null) return [ok("spool", `${whole}; no memory limit here`, { data })];
  const message = `${whole}: ${mebibytes(wholeBytes)} of the ${mebibytes(memoryMaxBytes)} this container may use`;
  const fitting = Math.floor((memoryMaxBytes * WARN_SHARE) / Math.max(1, sensors) / 1024 ** 2);
  const remedy = `Set spool.bytes_max to ${fitting}MiB or less, or raise the memory limit`;
  if (wholeBytes >= memoryMaxBytes) return [fail("spool", message, remedy, { data })];
  if (wholeBytes > memoryMaxBytes * WARN_SHARE) return [warn("spool", message, remedy, { data })];
  return [ok("spool", message, { data })];
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
