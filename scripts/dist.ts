/**
 * `bun run dist`: builds everything for this machine's processor and, where its C compiler is there, the other one, and lays out
 * in `dist/images/` what docker/Dockerfile puts into images, which also runs this command in its own build stage:
 *
 *     native/ amd64/ arm64/      the binaries and a sensor for a node without interpreters; native is this machine's
 *     agents/x86_64/ agents/aarch64/     the agents a coordinator hands out (H8)
 *     sbom.cdx.json              what the binaries are made of
 */
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import rootPackage from "../package.json" with { type: "json" };
import {
  type Arch,
  ARCHES,
  BuildError,
  buildBinaries,
  dist,
  thisArch,
} from "./lib/build-binaries.ts";
import { ensureInstalled } from "./lib/install.ts";
import { root } from "./lib/root.ts";
import { installedLicenses, type Lockfile, sbomOf } from "./lib/sbom.ts";

/** Whatever the umask here is, the files can be read and run by any user of an image. */
const MODE = 0o755;
const IMAGES = join(dist, "images");
const AGENT = "fleet-agent";
const SENSOR = "demo-sensor";

/** How containers call a processor. */
const PLATFORMS: Readonly<Record<Arch, string>> = { x86_64: "amd64", aarch64: "arm64" };

await ensureInstalled();
try {
  rmSync(IMAGES, { recursive: true, force: true });
  for (const arch of ARCHES) {
    const compiler = compilerFor(arch);
    if (compiler === undefined) console.log(`${arch}: left out, there is no C compiler for it`);
    else await layOut(arch, compiler);
  }
  writeSbom();
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(error.message);
  process.exit(1);
}

/** For this machine it is there, or the build says what it lacks. */
function compilerFor(arch: Arch): string | undefined {
  if (arch === thisArch) return Bun.which("gcc") ?? "cc";
  return Bun.which(`${arch}-linux-gnu-gcc`) ?? undefined;
}

async function layOut(arch: Arch, compiler: string): Promise<void> {
  const built = await buildBinaries([], { arch });
  const files = [...built.map(({ path }) => join(root, path)), compileSensor(arch, compiler)];
  for (const file of files) chmodSync(file, MODE);
  for (const name of arch === thisArch ? [PLATFORMS[arch], "native"] : [PLATFORMS[arch]])
    linkInto(join(IMAGES, name), files);
  linkInto(
    join(IMAGES, "agents", arch),
    files.filter((file) => basename(file) === AGENT),
  );
}

/** Links, since each is more than 100 MB. */
function linkInto(dir: string, files: readonly string[]): void {
  mkdirSync(dir, { recursive: true });
  for (const file of files) linkSync(file, join(dir, basename(file)));
  console.log(`${dir.slice(root.length + 1)}: ${files.map((file) => basename(file)).join(" ")}`);
}

/** The demo's sensor in C, for an image that has no library to link it with. Gives its path. */
function compileSensor(arch: Arch, compiler: string): string {
  const path = join(dist, ...(arch === thisArch ? [] : [arch]), SENSOR);
  const source = join(root, "scripts/demo/sensors/radar.c");
  const flags = ["-O2", "-s", "-static", "-Wl,--build-id=none"];
  const { exitCode, stderr } = Bun.spawnSync([compiler, ...flags, "-o", path, source]);
  if (exitCode !== 0) throw new BuildError(`${compiler}: ${stderr.toString().trim()}`);
  return path;
}

function writeSbom(): void {
  const { stdout } = Bun.spawnSync([join(dist, AGENT), "--version", "--json"]);
  const { bun, libc } = JSON.parse(stdout.toString()) as { bun: string; libc: string | null };
  const lock = Bun.JSONC.parse(readFileSync(join(root, "bun.lock"), "utf8")) as Lockfile;
  const licenseOf = installedLicenses(root);
  const sbom = sbomOf(lock, { version: rootPackage.version, bunVersion: bun, libc, licenseOf });
  const path = join(IMAGES, "sbom.cdx.json");
  writeFileSync(path, `${JSON.stringify(sbom, null, 2)}\n`);
  console.log(path.slice(root.length + 1));
}
