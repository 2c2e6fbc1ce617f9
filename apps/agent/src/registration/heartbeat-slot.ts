/** When in the heartbeat interval a node checks in, so that a fleet that registered at one moment spreads. Pure. (A13) */

/** Not right behind the register. */
const SLOT_MIN = 0.1;

/** A part of the interval, in [0.1, 1), that is always the same for a node. FNV-1a. */
export function heartbeatSlot(nodeId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < nodeId.length; i++)
    hash = Math.imul(hash ^ nodeId.charCodeAt(i), 0x01000193) >>> 0;
  return SLOT_MIN + (hash / 2 ** 32) * (1 - SLOT_MIN);
}
