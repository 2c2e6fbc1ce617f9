/** Which build this is. */
import manifest from "../package.json" with { type: "json" };

/** The version of this agent. */
export const VERSION: string = manifest.version;

/** What `--version --json` prints. */
export function versionReport(): Record<string, string> {
  return { name: "fleet-agent", version: VERSION, bun: Bun.version, arch: process.arch };
}
