/** @fleet/runtimes: finds the interpreters of an image and decides which of them sensors may use. */
export { canonicalRuntime, NATIVE } from "./probe/canonical-runtime.ts";
export type { RuntimeNames } from "./probe/canonical-runtime.ts";
export { detectedRuntimes, detectImage, PROBE_TIMEOUT_MS } from "./detect-image.ts";
export type { DetectOptions } from "./detect-image.ts";
export type { CacheOptions } from "./cache/detection-cache.ts";
export { explain } from "./report/explain.ts";
export type { Explanation } from "./report/explain.ts";
export { formatReport } from "./report/format-report.ts";
export { INSTALLATIONS_ALSO_MAX } from "./image-report.ts";
export type {
  BrokenInterpreter,
  CgroupLimits,
  Evidence,
  ImageFacts,
  ImageReport,
  Installation,
  InterpreterReport,
  Libc,
  PackageManager,
  Rejection,
  RejectionCode,
  VirtualEnvironment,
  WorkingInterpreter,
} from "./image-report.ts";
export type { CustomInterpreter } from "./probe/interpreters.ts";
export { resolveRuntimes } from "./resolve-runtimes.ts";
export type {
  ResolvedRuntimes,
  RuntimeChoice,
  RuntimeProblem,
  RuntimeTier,
} from "./resolve-runtimes.ts";
export type {
  ProbeClock,
  ProbeCommand,
  ProbeExit,
  ProbeProcess,
  SpawnProbe,
} from "./probe/run-probe.ts";
