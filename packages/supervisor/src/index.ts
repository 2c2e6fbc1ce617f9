export type { ByteSource } from "./byte-source.ts";
export { Child, KILL_MARGIN_MS } from "./child.ts";
export type { ChildOptions, ChildSpec, RunEnd } from "./child-spec.ts";
export type { AfterStopping, ChildPolicy, ChildState } from "./child-state.ts";
export {
  endOrphan,
  findOrphans,
  groupMembers,
  type OrphanEnd,
  type ProcessIdentity,
  processIdentity,
} from "./orphans.ts";
export { OWN_LAUNCHER, type ResourceLimits } from "./launch.ts";
export { runOnce, type RunOnceOptions, type RunOnceResult, type RunOutput } from "./run-once.ts";
export {
  createSpawn,
  type GroupSignal,
  type ProcessExit,
  type Spawn,
  signalGroup,
  SpawnError,
  type SpawnedProcess,
  type SpawnRequest,
  systemSpawn,
} from "./spawn.ts";
export { StderrRing } from "./stderr-ring.ts";
