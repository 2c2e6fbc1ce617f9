/** The output of `--version --json`. */
import { COMMIT, LIBC, VERSION } from "@fleet/daemon/version";

/** Name, version and commit of the agent, and the versions of its components. `libc` is null in a dynamic build. */
export function versionReport(): Record<string, string | null> {
  return {
    name: "fleet-agent",
    version: VERSION,
    commit: COMMIT,
    bun: Bun.version,
    arch: process.arch,
    libc: LIBC,
  };
}
