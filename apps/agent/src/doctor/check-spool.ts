/** Whether the spools, where they are in memory, fit into what this container may use. Pure. (A9, A16) */
import { type Check, fail, ok, warn } from "./check.ts";

/** Sensors' spools are held to `bytesMax` each; `memoryMaxBytes` is the control group's limit, null without one. */
export interface SpoolCheckOptions {
  readonly sensors: number;
  readonly bytesMax: number;
  /** There is a state directory: the spools are on disk, and what is in memory follows from the limit. */
  readonly hasDir: boolean;
  readonly memoryMaxBytes: number | null;
}

/** The agent itself and its sensors need memory too. */
const WARN_PART = 0.5;

/** Full spools beside the limit (nothing without sensors): an outage must not end in the kernel killing the agent. */
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
  const fitting = Math.floor((memoryMaxBytes * WARN_PART) / Math.max(1, sensors) / 1024 ** 2);
  const remedy = `Set spool.bytes_max to ${fitting}MiB or less, or raise the memory limit`;
  if (wholeBytes >= memoryMaxBytes) return [fail("spool", message, remedy, { data })];
  if (wholeBytes > memoryMaxBytes * WARN_PART) return [warn("spool", message, remedy, { data })];
  return [ok("spool", message, { data })];
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
