/** Detection results for the doctor's tests. */
import type { ImageReport, InterpreterReport, ResolvedRuntimes } from "@fleet/runtimes";
import type { Detection } from "../detection/detect.ts";

/** The part of a result that a test is about. */
export interface Found {
  readonly interpreters?: readonly InterpreterReport[];
  readonly environments?: ImageReport["environments"];
  readonly resolved?: Partial<ResolvedRuntimes>;
}

/** A working interpreter at `/usr/bin/NAME`. */
export function interpreter(name: string, version: string): InterpreterReport {
  return {
    verdict: "ok",
    name,
    path: `/usr/bin/${name}`,
    real_path: `/usr/bin/${name}`,
    version,
    semver: version,
    implementation: null,
    vendor: null,
    kind: null,
    libc: null,
    arch: null,
    via: null,
    note: null,
    probe_ms: 1,
    also: [],
    rejected: [],
  };
}

export function detectionOf({ interpreters = [], environments = [], resolved }: Found): Detection {
  const report = { interpreters, environments } as unknown as ImageReport;
  const runtimes = interpreters.map(({ name }) => name);
  return { report, resolved: { runtimes, tier: "detected", problems: [], ...resolved } };
}
