/** Detection and what follows from it: which runtimes sensors may use here, by the three tiers. Runs before anything else. (A4–A7) */
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
import type { Environment } from "./image-env.ts";

/** What the image has, and what of it is offered to sensors. */
export interface Detection {
  readonly report: ImageReport;
  readonly resolved: ResolvedRuntimes;
}

/** `runtimes` and `interpreters` are those of the config file. */
export interface DetectionOptions {
  readonly env: Environment;
  readonly clock: Clock;
  readonly runtimes: readonly string[] | undefined;
  readonly interpreters: readonly CustomInterpreter[];
}

/** Never rejects; takes about as long as the slowest interpreter's version command. */
export async function detect(options: DetectionOptions): Promise<Detection> {
  const { env, clock, runtimes, interpreters } = options;
  const report = await detectImage({ env, clock, interpreters });
  const resolved = resolveRuntimes({
    override: env["FLEET_AGENT_RUNTIMES"],
    config: runtimes,
    detected: detectedRuntimes(report),
    interpreters,
  });
  return { report, resolved };
}

/** What `--detect-only` prints, with or without `--json`; LF-terminated. (A7) */
export function formatDetection({ report, resolved }: Detection, json: boolean): string {
  const { runtimes, tier, problems } = resolved;
  if (json) return `${JSON.stringify({ ...report, resolved }, null, 2)}\n`;
  const offered = runtimes.length === 0 ? "none" : runtimes.join(", ");
  const notes = problems.map(({ severity, message }) => `${severity}: ${message}\n`).join("");
  return `${formatReport(report)}runtimes for sensors: ${offered} (${TIER_TEXT[tier]})\n${notes}`;
}

const TIER_TEXT = {
  override: "from FLEET_AGENT_RUNTIMES",
  config: "from the config file",
  detected: "detected",
} as const;
