/**
 * `bun run dist`: builds everything for this machine's processor and, where its C compiler is there, the other one, and lays out
 * in `dist/images/` the roots of the images, which docker/Dockerfile copies; its own build stage runs this command, too:
 *
 *     here/ amd64/ arm64/     by processor (`here` is this machine's); in each agent/, coordinator/ and native/
 *     owned/                  directories of the coordinator's image that belong to its user
 *
 * The same binaries give the same roots to the bit: each file and directory has the same mode and time.
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

/** Whatever the umask here is, everything can be read, and run if it is a program, by any user of an image. */
const MODE = 0o755;
const SBOM_MODE = 0o644;
const TIME_S = 0;

const IMAGES = join(dist, "images");
/** Agents read what is in `enroll`, nobody else what is in the others. */
const OWNED = { data: 0o700, secrets: 0o700, enroll: 0o755 };
const AGENT = "fleet-agent";
const SENSOR = "demo-sensor";
const SBOM = join(dist, "sbom.cdx.json");

/** How containers call a processor. */
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
  makeEven();
  console.log(`dist/images: ${built.map((arch) => PLATFORMS[arch]).join(" and ")}`);
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(error.message);
  process.exit(1);
}

/** Gives the processors that could be built for. */
async function buildAll(): Promise<readonly Arch[]> {
  const built: Arch[] = [];
  for (const arch of ARCHES) {
    const compiler = compilerFor(arch);
    if (compiler === undefined) {
      console.log(`${arch}: left out, there is no C compiler for it`);
      continue;
    }
    await buildBinaries([], { arch });
    compileSensor(arch, compiler);
    built.push(arch);
  }
  return built;
}

/** For this machine it is there, or the build says what it lacks. */
function compilerFor(arch: Arch): string | undefined {
  if (arch === thisArch) return Bun.which("gcc") ?? "cc";
  return Bun.which(`${arch}-linux-gnu-gcc`) ?? undefined;
}

/** The demo's sensor in C, for an image that has no library to link it with. */
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

/** Puts links to the files, each of which is more than 100 MB, into the roots of one processor's images. */
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
  // What it hands out (H8).
  for (const other of agents)
    put(builtFile(other, AGENT), "coordinator", `usr/share/fleet/agents/${other}`);
}

function makeEven(): void {
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
