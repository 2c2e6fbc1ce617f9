/** The flags and the file of the configuration. Separate from config.ts, so that detection can start before the schema is loaded. (A7) */
import type { CustomInterpreter } from "@fleet/runtimes";
import type { Environment } from "../process/image-env.ts";

/** The unparsed flags of the settings. A flag overrides its variable, a variable overrides its key in the file. */
export interface RunFlags {
  readonly config?: string;
  readonly name?: string;
  readonly coordinator?: string;
  readonly stateDir?: string;
  readonly logLevel?: string;
}

/** The part of the config file that detection needs. */
export interface DetectionConfig {
  readonly runtimes: readonly string[] | undefined;
  readonly interpreters: readonly CustomInterpreter[];
}

/** The path of the config file, from the flag or the variable; undefined if neither is set. */
export function configPath(flags: RunFlags, env: Environment): string | undefined {
  return flags.config ?? (env["FLEET_AGENT_CONFIG"] || undefined);
}
