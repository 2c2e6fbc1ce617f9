/**
 * `bun run dist`: builds everything for this machine's processor and, if its C compiler is installed, for the other one. Lays
 * out the root directories of the container images in `dist/images/`, which docker/Dockerfile copies (its build stage also
 * runs this command):
 *
 *     here/ amd64/ arm64/     by processor (`here` is this machine's), each with agent/, coordinator/ and native/
 *     owned/                  directories in the coordinator's image that belong to its user
 *
 * The same binaries yield identical roots: every file and directory has a fixed mode and time.
 */
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
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

/** Lets any user of an image read and run everything, independent of the umask here. */
const MODE = 0o755;
const SBOM_MODE = 0o644;
const TIME_S = 0;

const IMAGES = join(dist, "images");
/** Mode of each directory. Agents read `enroll`; only the coordinator reads the others. */
const OWNED = { data: 0o700, secrets: 0o700, enroll: 0o755 };
const AGENT = "fleet-agent";
const SENSOR = "demo-sensor";
const SBOM = join(dist, "sbom.cdx.json");

/** The processor names that container tools use. */
const PLATFORMS: Readonly<Record<Arch, string>> = { x86_64: "amd64", aarch64: "arm64" };

await ensureInstalled();
try {
  const built = await buildAll();
  writeSbom();
  rmSync(IMAGES, { recursive: true, force: true });
  for (const name of Object.keys(OWNED))
    mkdirSync(join(IMAGES, "owned", name), { recursive: true });
  for (const arch of built) {
    layOut(PLATFORMS[arch], arch, built);
    if (arch === thisArch) layOut("here", arch, built);
  }
  normalise();
  console.log(`dist/images: ${built.map((arch) => PLATFORMS[arch]).join(" and ")}`);
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(error.message);
  process.exit(1);
}

/** Builds the binaries and the demo's sensor. Returns the processors it could build for. */
async function buildAll(): Promise<readonly Arch[]> {
  const built: Arch[] = [];
  for (const arch of ARCHES) {
    const compiler = compilerFor(arch);
    if (compiler === undefined) {
      console.log(`${arch}: skipped, because there is no C compiler for it`);
      continue;
    }
    await buildBinaries([], { arch });
    compileSensor(arch, compiler);
    built.push(arch);
  }
  return built;
}

/** Returns the C compiler for a processor. For this machine's, a missing one is reported by the build. */
function compilerFor(arch: Arch): string | undefined {
  if (arch === thisArch) return Bun.which("gcc") ?? "cc";
  return Bun.which(`${arch}-linux-gnu-gcc`) ?? undefined;
}

/** Compiles the demo's sensor in C statically, for an image without libraries. */
function compileSensor(arch: Arch, compiler: string): void {
  const source = join(root, "scripts/demo/sensors/radar.c");
  const flags = ["-O2", "-s", "-static", "-Wl,--build-id=none"];
  const command = [compiler, ...flags, "-o", builtFile(arch, SENSOR), source];
  const { exitCode, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new BuildError(`${compiler}: ${stderr.toString().trim()}`);
}

function builtFile(arch: Arch, name: string): string {
  return arch === thisArch ? join(dist, name) : join(dist, arch, name);
}

/** Fills the roots of one processor's images. Uses hard links, because the files exceed 100 MB each. */
function layOut(platform: string, arch: Arch, agents: readonly Arch[]): void {
  const put = (file: string, image: string, dir: string): void => {
    const to = join(IMAGES, platform, image, dir);
    mkdirSync(to, { recursive: true });
    linkSync(file, join(to, basename(file)));
  };
  put(builtFile(arch, AGENT), "agent", ".");
  put(builtFile(arch, SENSOR), "native", ".");
  for (const name of ["fleet-coordinator", "fleet-tracker"])
    put(builtFile(arch, name), "coordinator", "usr/bin");
  put(SBOM, "coordinator", "usr/share/fleet");
  // The coordinator serves these for download. (H8)
  for (const other of agents)
    put(builtFile(other, AGENT), "coordinator", `usr/share/fleet/agents/${other}`);
}

/** Sets the mode and time of everything in the images. */
function normalise(): void {
  const inside = new Bun.Glob("**").scanSync({ cwd: IMAGES, onlyFiles: false });
  for (const path of inside) {
    chmodSync(join(IMAGES, path), path.endsWith(basename(SBOM)) ? SBOM_MODE : MODE);
    utimesSync(join(IMAGES, path), TIME_S, TIME_S);
  }
  for (const [name, mode] of Object.entries(OWNED)) chmodSync(join(IMAGES, "owned", name), mode);
}

function writeSbom(): void {
  const { stdout } = Bun.spawnSync([join(dist, AGENT), "--version", "--json"]);
  const { bun, libc } = JSON.parse(stdout.toString()) as { bun: string; libc: string | null };
  const lock = Bun.JSONC.parse(readFileSync(join(root, "bun.lock"), "utf8")) as Lockfile;
  const licenseOf = installedLicenses(root);
  const sbom = sbomOf(lock, { version: rootPackage.version, bunVersion: bun, libc, licenseOf });
  writeFileSync(SBOM, `${JSON.stringify(sbom, null, 2)}\n`);
}
