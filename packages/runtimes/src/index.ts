/** @fleet/runtimes: finds the interpreters of an image and decides which of them sensors may use. */
export { canonicalRuntime, NATIVE } from "./probe/canonical-runtime.ts";
export type { RuntimeNames } from "./probe/canonical-runtime.ts";
export { detectedRuntimes, detectImage } from "./detect-image.ts";
export { explain } from "./report/explain.ts";
export type { Explanation } from "./report/explain.ts";
export { formatReport } from "./report/format-report.ts";
export type {
  Evidence,
  ImageReport,
  Installation,
  InterpreterReport,
  Libc,
  Rejection,
  VirtualEnvironment,
  WorkingInterpreter,
} from "./image-report.ts";
export type { CustomInterpreter } from "./probe/interpreters.ts";
export { resolveRuntimes } from "./resolve-runtimes.ts";
export type { ResolvedRuntimes } from "./resolve-runtimes.ts";
