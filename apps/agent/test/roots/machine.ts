/**
 * The requirements of these tests on the machine. If one is missing, the tests are skipped with a line that names it; in CI, where
 * a skipped test would look like a passed one, they fail.
 */
import { describe, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fetchPackages, type Packages } from "./packages.ts";
import { type Arch, PROCESSORS, thisArch } from "./processor.ts";

const DIST = join(import.meta.dir, "../../../../dist");

/** Everything that a matrix of roots needs. */
export interface Machine {
  readonly arch: Arch;
  /** The path of the agent outside. */
  readonly agent: string;
  readonly coordinator: string;
  /** The C compiler for `arch`. */
  readonly compiler: string;
  /** The static emulator for programs of `arch`; undefined if this machine runs them itself. */
  readonly emulator: string | undefined;
  readonly packages: Packages;
}

/**
 * Runs `body` with what it needs to create roots for `arch`, or skips or fails it if something is missing. `prepare` returns
 * further requirements, or a string with the reason why they are not available.
 */
export async function describeRoots<T extends object = object>(
  name: string,
  arch: Arch,
  body: (machine: Machine, prepared: T) => void,
  prepare: () => Promise<T | string> = () => Promise.resolve({} as T),
): Promise<void> {
  const isForeign = arch !== thisArch;
  const missing: string[] = [];
  const find = (command: string, from: string): string => {
    const path = Bun.which(command);
    if (path === null) missing.push(`${command} (Debian: ${from})`);
    return path ?? "";
  };
  if (find("unshare", "util-linux") !== "" && !mayMount())
    missing.push("the right to mount in a namespace of its own (root with CAP_SYS_ADMIN)");
  find("mount", "mount");
  find("apt-get", "apt");
  find("gcc", "gcc");
  const compiler = isForeign
    ? find(`${arch}-linux-gnu-gcc`, `gcc-${PROCESSORS[arch].triple.replace("_", "-")}`)
    : "gcc";
  const emulator = isForeign ? find(`qemu-${arch}-static`, "qemu-user-static") : undefined;
  const agent = join(DIST, isForeign ? arch : "", "fleet-agent");
  const coordinator = join(DIST, "fleet-coordinator");
  for (const path of [agent, coordinator])
    if (!existsSync(path)) missing.push(`${path} (bun run build --arch ${arch})`);
  const packages = missing.length > 0 ? undefined : await fetchPackages(arch);
  const prepared = typeof packages === "object" ? await prepare() : undefined;
  if (typeof packages === "object" && typeof prepared === "object") {
    const machine = { arch, agent, coordinator, compiler, emulator, packages };
    return describe(name, () => body(machine, prepared));
  }
  const causes = [...missing, packages, prepared].filter((cause) => typeof cause === "string");
  const problem = `${name}: skipped, missing: ${causes.join("; ")}`;
  if (process.env["CI"] === "true")
    return test(name, () => {
      throw new Error(`${problem} (CI may not skip these)`);
    });
  console.warn(problem);
  test.skip(name, () => {});
}

/** Tries it, because root in a container may lack the privileges. */
function mayMount(): boolean {
  const probe = ["unshare", "--mount", "--propagation", "private", "true"];
  return process.getuid?.() === 0 && Bun.spawnSync(probe).exitCode === 0;
}
