/** @fleet/runtimes: which interpreters an image has, and which of them sensors may use. */
export { canonicalRuntime, NATIVE } from "./canonical-runtime.ts";
export type { RuntimeNames } from "./canonical-runtime.ts";
export { detectedRuntimes, detectImage, PROBE_TIMEOUT_MS } from "./detect-image.ts";
export type { DetectOptions } from "./detect-image.ts";
export type { CacheOptions } from "./detection-cache.ts";
export type { Libc } from "./elf-header.ts";
export { explain } from "./explain.ts";
export type { Explanation } from "./explain.ts";
export { formatReport } from "./format-report.ts";
export { INSTALLATIONS_ALSO_MAX } from "./image-report.ts";
export type {
  BrokenInterpreter,
  CgroupLimits,
  Evidence,
  ImageFacts,
  ImageReport,
  Installation,
  InterpreterReport,
  PackageManager,
  Rejection,
  RejectionCode,
  VirtualEnvironment,
  WorkingInterpreter,
} from "./image-report.ts";
export type { CustomInterpreter } from "./interpreters.ts";
export { resolveRuntimes } from "./resolve-runtimes.ts";
export type {
  ResolvedRuntimes,
  RuntimeChoice,
  RuntimeProblem,
  RuntimeTier,
} from "./resolve-runtimes.ts";
export type { ProbeClock, ProbeCommand, ProbeExit, ProbeProcess, SpawnProbe } from "./run-probe.ts";
