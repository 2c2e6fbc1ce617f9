/** Whether a sensor can run in this image, and by which command. Pure. (A5, A6, A11) */
import {
  coerceVersion,
  type ImageReport,
  NATIVE,
  satisfies,
  type WorkingInterpreter,
} from "@fleet/runtimes";
import type { SensorConfig } from "./config-sensor.ts";
import type { Detection } from "./detect.ts";

/** The command line of a sensor, or why it has none here: what would satisfy it, and what was found. */
export type SensorPlan =
  | { readonly at: "runnable"; readonly config: SensorConfig; readonly argv: readonly string[] }
  | { readonly at: "unavailable"; readonly config: SensorConfig; readonly reason: string };

/** A runtime sensor's command goes to its interpreter; a native one's is run as it stands. */
export function planSensor(config: SensorConfig, { report, resolved }: Detection): SensorPlan {
  const { runtime, requires, command } = config;
  const unavailable = (found: string): SensorPlan => ({
    at: "unavailable",
    config,
    reason: `needs ${[runtime, requires].filter((part) => part !== undefined).join(" ")}; ${found}`,
  });
  if (!resolved.runtimes.includes(runtime)) {
    const offered = resolved.runtimes.join(", ") || "none";
    return unavailable(`the runtimes offered here are: ${offered}`);
  }
  if (runtime === NATIVE) return { at: "runnable", config, argv: command };
  const interpreter = findInterpreter(report, runtime);
  if (typeof interpreter === "string") return unavailable(interpreter);
  const { path, version } = interpreter;
  if (requires !== undefined && !isSatisfied(version, requires))
    return unavailable(`found ${runtime} ${version ?? "of unknown version"} at ${path}`);
  return { at: "runnable", config, argv: [path, ...command] };
}

/** The interpreter, or what is there instead of it. */
function findInterpreter(report: ImageReport, runtime: string): WorkingInterpreter | string {
  const found = report.interpreters.find(({ name }) => name === runtime);
  if (found === undefined) return `no ${runtime} was found in this image`;
  if (found.verdict === "ok") return found;
  const reasons = found.rejected.map(({ path, reason }) => `${path} ${reason}`).join("; ");
  return `no working ${runtime} was found in this image: ${reasons}`;
}

function isSatisfied(version: string | null, requires: string): boolean {
  return satisfies(version === null ? null : (coerceVersion(version) ?? version), requires);
}
