/** Decides which runtimes the agent offers: the variable overrides the config file, which overrides detection. Pure. (A5, A6) */
import { canonicalRuntime, NATIVE, type RuntimeNames } from "./probe/canonical-runtime.ts";

export type RuntimeTier = "override" | "config" | "detected";

export interface RuntimeProblem {
  /** An error (a mistake in the config) should stop the agent; a warning is only logged. */
  readonly severity: "error" | "warning";
  readonly code: "unknown_runtime" | "runtime_not_found";
  /** The name as written. */
  readonly name: string;
  readonly message: string;
}

export interface RuntimeChoice {
  /** Value of FLEET_AGENT_RUNTIMES, comma separated; undefined or blank means unset. */
  readonly override: string | undefined;
  /** `runtimes:` of the config file: names, `auto` (all detected runtimes), `native`. An empty list means none. */
  readonly config: readonly string[] | undefined;
  /** Names of detected runtimes, as `detectedRuntimes(report)` returns them. */
  readonly detected: readonly string[];
  /** The config file's own interpreters. */
  readonly interpreters?: readonly RuntimeNames[] | undefined;
}

export interface ResolvedRuntimes {
  /** Canonical names in the order of the deciding tier, without duplicates. The agent sets an unset FLEET_AGENT_RUNTIMES to them. */
  readonly runtimes: readonly string[];
  readonly tier: RuntimeTier;
  readonly problems: readonly RuntimeProblem[];
}

const AUTO = "auto";

/**
 * The highest tier that is set decides alone; lower tiers contribute only through `auto`. The override keeps every name, even
 * unknown or undetected ones, with a warning; an unknown name in the config is an error and is dropped. `native` is offered
 * only when the override or the config names it, never through `auto` or detection. (A5, A6)
 */
export function resolveRuntimes(choice: RuntimeChoice): ResolvedRuntimes {
  const extra = choice.interpreters ?? [];
  const detected = unique(
    choice.detected.map((name) => canonicalRuntime(name, extra) ?? name.trim().toLowerCase()),
  ).filter((name) => name !== NATIVE && name !== AUTO && name !== "");
  const fromOverride = splitNames(choice.override ?? "");
  if (fromOverride.length > 0) return choose("override", fromOverride, detected, extra);
  if (choice.config !== undefined) return choose("config", choice.config, detected, extra);
  return { runtimes: detected, tier: "detected", problems: [] };
}

function choose(
  tier: "override" | "config",
  written: readonly string[],
  detected: readonly string[],
  extra: readonly RuntimeNames[],
): ResolvedRuntimes {
  const runtimes: string[] = [];
  const problems: RuntimeProblem[] = [];
  const where = tier === "override" ? "FLEET_AGENT_RUNTIMES" : "runtimes";
  for (const name of written) {
    const key = name.trim().toLowerCase();
    if (key === AUTO) {
      runtimes.push(...detected);
      continue;
    }
    const canonical = canonicalRuntime(key, extra) ?? (detected.includes(key) ? key : undefined);
    if (canonical === undefined) {
      const severity = tier === "override" ? "warning" : "error";
      problems.push({
        severity,
        code: "unknown_runtime",
        name,
        message: `${where} names "${name}", which is not a runtime Fleet knows`,
      });
      if (tier === "override") runtimes.push(key);
      continue;
    }
    if (canonical !== NATIVE && !detected.includes(canonical)) {
      const message = `${where} names "${name}", but no working ${canonical} was found in this image`;
      problems.push({ severity: "warning", code: "runtime_not_found", name, message });
    }
    runtimes.push(canonical);
  }
  return { runtimes: unique(runtimes), tier, problems };
}

function splitNames(list: string): string[] {
  return list
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)];
}
