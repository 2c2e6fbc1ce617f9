/** @fleet/supervisor: runs, supervises and stops child processes. Used by the agent for sensors and by the coordinator for trackers. */
export { Child, KILL_MARGIN_MS } from "./child.ts";
export type { RunEnd } from "./child-spec.ts";
export type { ChildState } from "./child-state.ts";
export {
  endOrphan,
  findOrphans,
  groupMembers,
  type ProcessIdentity,
  processIdentity,
} from "./orphans.ts";
export { OWN_LAUNCHER, type ResourceLimits } from "./launch.ts";
export { runOnce, type RunOnceResult } from "./run-once.ts";
export { type Spawn, signalGroup, SpawnError, type SpawnedProcess, systemSpawn } from "./spawn.ts";
export { StderrRing } from "./stderr-ring.ts";
