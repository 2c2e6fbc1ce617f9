/** Spreads the heartbeats of a fleet over the interval, even if all of it registered at the same moment. Pure. (A13) */

/** Keeps the first heartbeat away from the register. */
const SLOT_MIN = 0.1;

/** The fraction of the interval, in [0.1, 1), at which a node sends its heartbeat; constant for a node (FNV-1a). */
export function heartbeatSlot(nodeId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < nodeId.length; i++)
    hash = Math.imul(hash ^ nodeId.charCodeAt(i), 0x01000193) >>> 0;
  return SLOT_MIN + (hash / 2 ** 32) * (1 - SLOT_MIN);
}
