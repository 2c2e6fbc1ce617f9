/**
 * Decides whether a sensor can run in this image, and by which command. The interpreter is the first one found that satisfies
 * `requires`, or that of the named virtual environment. A sensor that can't run gets a reason (what it needs, what is here
 * instead) and a remedy. Pure, given the detection result and the host. (A5, A6, A9, A11)
 */
import {
  type ImageReport,
  type Installation,
  NATIVE,
  type VirtualEnvironment,
} from "@fleet/runtimes";
import { satisfies } from "@fleet/runtimes/version-range";
import type { SensorConfig } from "../config/sensor.ts";
import type { Detection } from "../detection/detect.ts";
import {
  type SensorHost,
  type SensorUser,
  switchProblem,
  thisHost,
  userOf,
} from "./sensor-host.ts";

/** The command line of a sensor, or the reason why it can't run and the remedy, in words for a person. */
export type SensorPlan =
  | {
      readonly at: "runnable";
      readonly config: SensorConfig;
      readonly argv: readonly string[];
      /** The directory of its virtual environment, if it runs in one. */
      readonly virtualEnv: string | undefined;
      /** Undefined: the agent's own user. */
      readonly user: SensorUser | undefined;
    }
  | {
      readonly at: "unavailable";
      readonly config: SensorConfig;
      readonly reason: string;
      readonly remedy: string;
    };

/** What prevents a sensor from running. */
interface Obstacle {
  /** What the image has instead of what the sensor needs. */
  readonly found: string;
  readonly remedy: string;
}

interface Interpreter {
  readonly path: string;
  readonly virtualEnv: string | undefined;
}

const NAMES_MAX = 8;

/** Plans one sensor. The command is passed to the interpreter of its runtime; a native command is run as it is. */
export function planSensor(
  config: SensorConfig,
  detection: Detection,
  host: SensorHost = thisHost(),
): SensorPlan {
  const { runtime, requires, environment, command } = config;
  const unavailable = ({ found, remedy }: Obstacle): SensorPlan => {
    const needed = [runtime, requires].filter((part) => part !== undefined).join(" ");
    const where = environment === undefined ? "" : ` in the environment ${environment}`;
    return { at: "unavailable", config, reason: `needs ${needed}${where}; ${found}`, remedy };
  };
  const problem = switchProblem(config, host);
  if (problem !== undefined) return { at: "unavailable", config, ...problem };
  const { runtimes } = detection.resolved;
  if (!runtimes.includes(runtime)) return unavailable(notEnabled(runtime, detection));
  const user = userOf(config, host);
  if (runtime === NATIVE)
    return { at: "runnable", config, argv: command, virtualEnv: undefined, user };
  const found =
    environment === undefined
      ? findInstallation(config, detection.report)
      : findEnvironment(environment, config, detection.report, host);
  if ("found" in found) return unavailable(found);
  const { path, virtualEnv } = found;
  return { at: "runnable", config, argv: [path, ...command], virtualEnv, user };
}

function notEnabled(runtime: string, { report, resolved }: Detection): Obstacle {
  const isHere = installationsOf(runtime, report).length > 0;
  const missing = findInstallation({ runtime, requires: undefined }, report);
  // Without a choice by the user, a runtime that is not offered was not found.
  if (resolved.tier === "detected" && "found" in missing && runtime !== NATIVE) return missing;
  const offered = resolved.runtimes.join(", ") || "none";
  const where = resolved.tier === "override" ? "FLEET_AGENT_RUNTIMES" : "runtimes:";
  const present = isHere || runtime === NATIVE ? "" : `, and install ${runtime} in the image`;
  return {
    found: `the runtimes enabled here are: ${offered}`,
    remedy: `add ${runtime} to ${where}${present}`,
  };
}

function findInstallation(
  { runtime, requires }: Pick<SensorConfig, "runtime" | "requires">,
  report: ImageReport,
): Interpreter | Obstacle {
  const all = installationsOf(runtime, report);
  const usable = all.find((installation) => isSatisfied(installation, requires));
  if (usable !== undefined) return { path: usable.path, virtualEnv: undefined };
  const remedy = `use an image with ${[runtime, requires].filter((part) => part !== undefined).join(" ")}, or install it`;
  if (all.length > 0) {
    const here = all.map(({ path, version }) => `${version ?? "of unknown version"} at ${path}`);
    const fitting = environmentsFor(runtime, requires, report);
    return {
      found: `found ${runtime} ${here.join(", ")}`,
      remedy:
        fitting.length === 0
          ? `${remedy}, or correct requires:`
          : `set environment: to one that satisfies it: ${fitting.join(", ")}; or ${remedy}`,
    };
  }
  const broken = report.interpreters.find(({ name }) => name === runtime);
  if (broken === undefined) return { found: `no ${runtime} was found in this image`, remedy };
  const reasons = broken.rejected.map(({ path, reason }) => `${path} ${reason}`).join("; ");
  return { found: `no working ${runtime} was found in this image: ${reasons}`, remedy };
}

function findEnvironment(
  name: string,
  { runtime, requires }: SensorConfig,
  report: ImageReport,
  { envsDir }: SensorHost,
): Interpreter | Obstacle {
  if (envsDir === undefined || envsDir === "")
    return {
      found: "FLEET_RUNTIME_ENVS_DIR is not set",
      remedy: "set FLEET_RUNTIME_ENVS_DIR to the directory that holds it",
    };
  const fitting = environmentsFor(runtime, requires, report);
  const others = fitting.filter((other) => other !== name);
  const instead = others.length === 0 ? "" : `; or use one of: ${others.join(", ")}`;
  const environment = report.environments.find((each) => each.name === name);
  if (environment === undefined) {
    const names = report.environments.map((each) => each.name);
    const near = nearest(name, names);
    return {
      found: `${envsDir} has ${names.length === 0 ? "no environments" : listed(names)}`,
      remedy:
        near === undefined
          ? `create it with: python3 -m venv ${envsDir}/${name}${instead}`
          : `correct environment:, perhaps to ${near}${instead}`,
    };
  }
  const { path, interpreter, reason, version } = environment;
  if (interpreter === null)
    return {
      found: `it can't be used: ${reason ?? "it is broken"}`,
      remedy: `create it again on this machine: python3 -m venv --clear ${path}${instead}`,
    };
  if (isSatisfied(environment, requires)) return { path: interpreter, virtualEnv: path };
  return {
    found: `it has ${runtime} ${version ?? "of unknown version"} at ${interpreter}`,
    remedy: `create it again with such a ${runtime}, or correct requires:${instead}`,
  };
}

/** The chosen installation first, then the others. */
function installationsOf(runtime: string, report: ImageReport): readonly Installation[] {
  const found = report.interpreters.find(({ name }) => name === runtime);
  return found?.verdict === "ok" ? [found, ...found.also] : [];
}

/** Names of the environments that satisfy `requires`; only Python has environments. */
function environmentsFor(
  runtime: string,
  requires: string | undefined,
  { environments }: ImageReport,
): string[] {
  if (runtime !== "python") return [];
  return environments
    .filter((each) => each.verdict === "ok" && isSatisfied(each, requires))
    .map(({ name }) => name)
    .slice(0, NAMES_MAX);
}

/** Without `requires` any version satisfies, even an unknown one. */
function isSatisfied(
  { semver, version }: Pick<VirtualEnvironment, "semver" | "version">,
  requires: string | undefined,
): boolean {
  return requires === undefined || satisfies(semver ?? version, requires);
}

function listed(names: readonly string[]): string {
  const more = names.length - NAMES_MAX;
  return names.slice(0, NAMES_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** The name with the smallest edit distance, if that is small. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const [best] = names
    .map((other) => ({ other, changes: distance(name.toLowerCase(), other.toLowerCase()) }))
    .toSorted((a, b) => a.changes - b.changes);
  return best !== undefined && best.changes <= Math.max(1, name.length * 0.4)
    ? best.other
    : undefined;
}

/** The Levenshtein distance: letters to insert, delete or replace. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    row = next;
  }
  return row[b.length]!;
}
