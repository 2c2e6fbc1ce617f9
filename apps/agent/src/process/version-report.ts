/** What `--version --json` prints. */
import { COMMIT, LIBC, VERSION } from "@fleet/daemon/version";

/** Name, version, commit, and what is inside. `libc` is null in a dynamic build. */
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
