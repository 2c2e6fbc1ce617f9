/** Detection and what follows from it: which runtimes sensors may use here, by the three tiers. Runs before anything else. (A4–A7) */
import { readFileSync } from "node:fs";
import type { Clock } from "@fleet/daemon";
import {
  type CustomInterpreter,
  detectedRuntimes,
  detectImage,
  formatReport,
  type ImageReport,
  type ResolvedRuntimes,
  resolveRuntimes,
} from "@fleet/runtimes";
import type { RunFlags } from "./command-line.ts";
import type { Environment } from "./image-env.ts";

/** What the image has, and what of it is offered to sensors. */
export interface Detection {
  readonly report: ImageReport;
  readonly resolved: ResolvedRuntimes;
}

/** What detection needs of the config file. */
export interface DetectionConfig {
  readonly runtimes: readonly string[] | undefined;
  readonly interpreters: readonly CustomInterpreter[];
}

/** A detection that is under way: `finish` waits for it and applies the config's tier. */
export interface Detecting {
  finish(config: DetectionConfig): Promise<Detection>;
}

/**
 * Starts looking at once, while the config is still being read, unless the config file may name interpreters of its own:
 * those have to be known first. Never rejects; takes about as long as the slowest interpreter's version command.
 */
export function startDetection(flags: RunFlags, env: Environment, clock: Clock): Detecting {
  const early = mayNameInterpreters(configPath(flags, env))
    ? undefined
    : detectImage({ env, clock });
  return {
    async finish({ runtimes, interpreters }) {
      const report = await (early ?? detectImage({ env, clock, interpreters }));
      const resolved = resolveRuntimes({
        override: env["FLEET_AGENT_RUNTIMES"],
        config: runtimes,
        detected: detectedRuntimes(report),
        interpreters,
      });
      return { report, resolved };
    },
  };
}

/** The config file that flag or variable names. */
export function configPath(flags: RunFlags, env: Environment): string | undefined {
  return flags.config ?? (env["FLEET_AGENT_CONFIG"] || undefined);
}

/** What `--detect-only` prints, with or without `--json`; LF-terminated. (A7) */
export function formatDetection({ report, resolved }: Detection, json: boolean): string {
  const { runtimes, tier, problems } = resolved;
  if (json) return `${JSON.stringify({ ...report, resolved }, null, 2)}\n`;
  const offered = runtimes.length === 0 ? "none" : runtimes.join(", ");
  const notes = problems.map(({ severity, message }) => `${severity}: ${message}\n`).join("");
  return `${formatReport(report)}Runtimes for sensors: ${offered} (${TIER_TEXT[tier]})\n${notes}`;
}

/** Looks for the key without understanding the file. A file that can't be read is the config's problem. */
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
