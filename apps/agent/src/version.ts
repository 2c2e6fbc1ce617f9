/** Which build this is. The build puts both values in; without one, as under `bun test`, they say so. */

declare const FLEET_VERSION: string;
declare const FLEET_COMMIT: string;

/** The version of this agent. */
export const VERSION: string =
  typeof FLEET_VERSION === "undefined" ? "0.0.0-source" : FLEET_VERSION;

/** What `--version --json` prints. */
export function versionReport(): Record<string, string> {
  const commit = typeof FLEET_COMMIT === "undefined" ? "unknown" : FLEET_COMMIT;
  return { name: "fleet-agent", version: VERSION, commit, bun: Bun.version, arch: process.arch };
}
