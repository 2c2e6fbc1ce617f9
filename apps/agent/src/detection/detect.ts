/** Detects the interpreters of the image and decides by the three tiers which runtimes sensors may use. Runs before anything else. (A4–A7) */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "@fleet/daemon";
import { VERSION } from "@fleet/daemon/version";
import {
  canonicalRuntime,
  type CustomInterpreter,
  detectedRuntimes,
  detectImage,
  explain,
  type Explanation,
  formatReport,
  type ImageReport,
  type ResolvedRuntimes,
  resolveRuntimes,
} from "@fleet/runtimes";
import { configPath, type DetectionConfig, type RunFlags } from "../config/run-flags.ts";
import type { Environment } from "../process/image-env.ts";
import { DEFAULT_STATE_DIR } from "../state/state-dir.ts";

/** What the image has, and which of it sensors may use. */
export interface Detection {
  readonly report: ImageReport;
  readonly resolved: ResolvedRuntimes;
  /** Those that the config file adds. */
  readonly interpreters?: readonly CustomInterpreter[];
}

/** How to detect. */
export interface DetectionOptions {
  /** Ignores the results cached by an earlier start. */
  readonly fresh?: boolean;
}

/** A running detection. `finish` waits for it and applies the config's tier. */
export interface Detecting {
  finish(config: DetectionConfig): Promise<Detection>;
}

/**
 * Starts at once, before the config is read, unless the config file may add interpreters, which must be known first. Never
 * rejects; takes about as long as the version command of the slowest interpreter.
 */
export function startDetection(
  flags: RunFlags,
  env: Environment,
  clock: Clock,
  { fresh = false }: DetectionOptions = {},
): Detecting {
  const cache = { path: cachePath(flags, env), version: VERSION, fresh };
  const early = mayNameInterpreters(configPath(flags, env))
    ? undefined
    : detectImage({ env, clock, cache });
  return {
    async finish({ runtimes, interpreters }) {
      const report = await (early ?? detectImage({ env, clock, cache, interpreters }));
      const resolved = resolveRuntimes({
        override: env["FLEET_AGENT_RUNTIMES"],
        config: runtimes,
        detected: detectedRuntimes(report),
        interpreters,
      });
      return { report, resolved, interpreters };
    },
  };
}

/** The cache of an earlier start. Its directory is not created for it. */
function cachePath(flags: RunFlags, env: Environment): string {
  const dir = flags.stateDir ?? (env["FLEET_STATE_DIR"] || DEFAULT_STATE_DIR);
  return join(dir, "detection.json");
}

/** The output of `--detect-only`, with or without `--json`; LF-terminated. (A7) */
export function formatDetection({ report, resolved }: Detection, json: boolean): string {
  const { runtimes, tier, problems } = resolved;
  if (json) return `${JSON.stringify({ ...report, resolved }, null, 2)}\n`;
  const offered = runtimes.length === 0 ? "none" : runtimes.join(", ");
  const notes = problems.map(({ severity, message }) => `${severity}: ${message}\n`).join("");
  return `${formatReport(report)}Runtimes for sensors: ${offered} (${TIER_TEXT[tier]})\n${notes}`;
}

/** The output of `--detect-only --why NAME`, LF-terminated; `name` may be an alias. Otherwise a message that it is unknown. (A7) */
export function explainDetection(detection: Detection, name: string): Explanation {
  const { report, resolved, interpreters = [] } = detection;
  const explanation = explain(report, name, interpreters);
  if (explanation.at === "unknown") return explanation;
  const isOffered = resolved.runtimes.includes(explanation.name);
  const tier = TIER_REASONS[resolved.tier];
  const notes = resolved.problems
    .filter((problem) => canonicalRuntime(problem.name, interpreters) === explanation.name)
    .map(({ severity, message }) => `${severity}: ${message}\n`);
  const text = `${explanation.text}\nOffered to sensors: ${isOffered ? "yes" : "no"}, ${tier}\n`;
  return { ...explanation, text: text + notes.join("") };
}

/** Searches for the key without parsing the file. The config reports a file that can't be read. */
function mayNameInterpreters(path: string | undefined): boolean {
  if (path === undefined) return false;
  try {
    return readFileSync(path, "utf8").includes("interpreters");
  } catch {
    return false;
  }
}

const TIER_TEXT = {
  override: "from FLEET_AGENT_RUNTIMES",
  config: "from the config file",
  detected: "detected",
} as const;

const TIER_REASONS = {
  override: "because FLEET_AGENT_RUNTIMES decides alone",
  config: "because the config's runtimes: decides alone",
  detected: "as detected; neither FLEET_AGENT_RUNTIMES nor the config's runtimes: is set",
} as const;
