/**
 * Checks what these tests need from the machine. If something is missing, the tests are skipped with a line that names it. In
 * CI they fail instead, because a skipped test would look like a passed one.
 */
import { describe, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fetchStandIns } from "./stock.ts";

const DIST = join(import.meta.dir, "../../dist");
/** The required commands, with their Debian packages. */
const COMMANDS: Readonly<Record<string, string>> = {
  dockerd: "docker.io",
  docker: "docker.io",
  "docker-compose": "docker-compose",
  iptables: "iptables",
  unshare: "util-linux",
  nsenter: "util-linux",
  busybox: "busybox-static",
  mmdebstrap: "mmdebstrap",
  gcc: "gcc",
};

/** Describes tests with `body` if Docker can run here. Otherwise skips them, or fails in CI. */
export async function describeDocker(name: string, body: () => void): Promise<void> {
  const missing = await missingHere();
  if (missing.length === 0) return describe(name, body);
  const problem = `${name}: skipped, missing: ${missing.join("; ")}`;
  if (process.env["CI"] === "true")
    return test(name, () => {
      throw new Error(`${problem} (CI must not skip these)`);
    });
  console.warn(problem);
  test.skip(name, () => {});
}

async function missingHere(): Promise<readonly string[]> {
  const missing: string[] = [];
  for (const [command, from] of Object.entries(COMMANDS))
    if (Bun.which(command) === null) missing.push(`${command} (Debian: ${from})`);
  if (missing.length === 0 && !canMakeNamespaces())
    missing.push("permission to create namespaces (root with CAP_SYS_ADMIN)");
  for (const name of ["fleet-agent", "fleet-coordinator", "fleet-tracker"])
    if (!existsSync(join(DIST, name))) missing.push(`dist/${name} (bun run build)`);
  return missing.length > 0 ? missing : fetchStandIns();
}

/** Tries it, because root in a container may lack the capabilities. */
function canMakeNamespaces(): boolean {
  const namespaces = ["--mount", "--net", "--pid", "--fork"];
  const probe = ["unshare", ...namespaces, "busybox", "ip", "link", "set", "lo", "up"];
  return process.getuid?.() === 0 && Bun.spawnSync(probe).exitCode === 0;
}
