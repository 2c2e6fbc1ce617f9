/**
 * Stand-ins for users' stock images, built locally because no registry is reachable: two of another Debian release with an
 * interpreter each, one of busybox, one with a hostile loader, libraries and variables, and an empty one. (A1, A3)
 */
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { version } from "../../package.json";
import { addHostileFiles, CWD, hostileEnvironment } from "../../apps/agent/test/roots/hostile.ts";
import { otherRelease, problemOf, sourceOf } from "../../apps/agent/test/roots/packages.ts";
import { PROCESSORS, thisArch } from "../../apps/agent/test/roots/processor.ts";
import { runOrThrow } from "./command.ts";
import { CACHE, type Engine } from "./engine.ts";

const ROOT = join(import.meta.dir, "../..");
const BUILD_MS_MAX = 240_000;
/** Left out, below /usr/share. */
const UNWANTED = ["doc/*", "locale/*", "man/*"];
/** Nothing listens here. */
const PROXY = "http://127.0.0.1:9";

/** Fleet's images, with the names in compose.yaml. */
export const AGENT_IMAGE = `fleet-agent:${version}`;
export const COORDINATOR_IMAGE = `fleet-coordinator:${version}`;

/** An image, and the runtime and command of the sensor in it. */
export interface StandIn {
  readonly name: string;
  readonly runtime: string;
  readonly sensor: string;
  /** Debian packages to install; undefined if `docker build` builds the image. */
  readonly packages?: string;
}

export const STAND_INS: readonly StandIn[] = [
  { name: "python", runtime: "python", sensor: "numbers.py", packages: "python3" },
  { name: "node", runtime: "node", sensor: "numbers.mjs", packages: "nodejs" },
  { name: "busybox", runtime: "shell", sensor: "numbers.sh" },
  { name: "poisoned", runtime: "native", sensor: "numbers" },
  { name: "empty", runtime: "native", sensor: "numbers" },
];

/** Fetches the Debian images into the cache. Returns what is missing. */
export async function fetchStandIns(): Promise<readonly string[]> {
  const release = otherRelease();
  const source = release && (await sourceOf(release));
  if (!release || !source) return ["a Debian with a configured apt mirror"];
  mkdirSync(CACHE, { recursive: true });
  const fetched = STAND_INS.map(async ({ packages }) => {
    if (packages === undefined || existsSync(archiveOf(packages, release))) return undefined;
    return bootstrap(packages, release, source);
  });
  return (await Promise.all(fetched)).filter((problem) => problem !== undefined);
}

/** Builds all images, including those of the agent and the coordinator. */
export async function buildImages(engine: Engine): Promise<void> {
  const release = otherRelease()!;
  const debians = STAND_INS.filter(({ packages }) => packages !== undefined);
  await Promise.all([
    buildOurs(engine),
    buildSmall(engine),
    ...debians.map(({ name, packages }) =>
      engine.docker("import", archiveOf(packages!, release), name),
    ),
  ]);
}

/** Builds an image from a Dockerfile and files, each given by its source path or its text. */
export async function build(
  engine: Engine,
  name: string,
  dockerfile: readonly string[],
  files: Readonly<Record<string, string | { readonly text: string }>> = {},
): Promise<void> {
  const dir = join(engine.dir, `build-${name}`);
  mkdirSync(dir);
  writeFileSync(join(dir, "Dockerfile"), `${dockerfile.join("\n")}\n`);
  for (const [to, from] of Object.entries(files)) {
    const path = join(dir, to);
    mkdirSync(dirname(path), { recursive: true });
    if (typeof from === "string") linkOrCopy(from, path);
    else writeFileSync(path, from.text);
  }
  await runOrThrow(["chmod", "-R", "a+rX", dir]);
  await engine.docker("build", "--quiet", "--tag", name, dir);
  rmSync(dir, { recursive: true });
}

/** Builds Fleet's images with Compose, from the binaries compiled on this machine. */
async function buildOurs(engine: Engine): Promise<void> {
  const options = { cwd: ROOT, env: { ...engine.env, FLEET_TARGET_SUFFIX: "-dist" } };
  await runOrThrow([process.execPath, "scripts/dist.ts"], options);
  await runOrThrow(["docker-compose", "build"], options);
}

async function buildSmall(engine: Engine): Promise<void> {
  const busybox = [
    "FROM scratch",
    "COPY busybox /bin/",
    'RUN ["/bin/busybox", "--install", "/bin"]',
  ];
  await build(engine, "busybox", busybox, { busybox: Bun.which("busybox")! });
  await build(engine, "empty", ["FROM scratch", "COPY nothing /"], { nothing: { text: "" } });
  const files: Record<string, { text: string }> = {};
  const garbage = { text: "garbage" };
  const add = (path: string, content: string | Uint8Array): void => {
    files[path] = { text: content.toString() };
  };
  addHostileFiles({ file: add }, Buffer.from(garbage.text));
  for (const path of loaderAndLibraries()) files[path] = garbage;
  files["/etc/ld.so.preload"] = { text: "/hostile/witness.so /hostile/missing.so\n" };
  // Keeps working modules, without which no program in the image could resolve the coordinator's address.
  files["/etc/nsswitch.conf"] = { text: "passwd: broken missing\nhosts: broken files dns\n" };
  const environment = Object.entries(hostileEnvironment(PROXY)).map(
    ([name, value]) => `ENV ${name}=${JSON.stringify(value)}`,
  );
  await build(
    engine,
    "poisoned",
    ["FROM scratch", "COPY . /", `WORKDIR ${CWD}`, ...environment],
    files,
  );
}

/** Paths at which a Debian program looks for its loader and libraries. */
function loaderAndLibraries(): readonly string[] {
  const { ldso, triple } = PROCESSORS[thisArch];
  const names = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libnss_dns.so.2"];
  const dirs = ["/lib", "/usr/lib", `/lib/${triple}`, `/usr/lib/${triple}`];
  return [ldso, ...dirs.flatMap((dir) => names.map((name) => `${dir}/${name}`))];
}

/** Installs `packages` of another Debian release into an archive in the cache, and removes older ones. Returns what went wrong. */
async function bootstrap(
  packages: string,
  release: string,
  source: string,
): Promise<string | undefined> {
  const archive = archiveOf(packages, release);
  const partial = `${archive}.${process.pid}.tar`;
  const options = [
    ...UNWANTED.map((glob) => `--dpkgopt=path-exclude=/usr/share/${glob}`),
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=force-unsafe-io",
    `--include=${packages}`,
  ];
  const command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", ...options];
  const problem = await problemOf([...command, release, partial, source], "/", BUILD_MS_MAX);
  if (problem !== undefined) {
    rmSync(partial, { force: true });
    return `Debian ${release} with ${packages}: ${problem}`;
  }
  for (const name of readdirSync(CACHE))
    if (name.startsWith(`${packages}-`) && join(CACHE, name) !== partial) rmSync(join(CACHE, name));
  renameSync(partial, archive);
  return undefined;
}

/** The archive's name contains a hash of its recipe. */
function archiveOf(packages: string, release: string): string {
  const recipe = Bun.hash(JSON.stringify([packages, UNWANTED])).toString(36);
  return join(CACHE, `${packages}-${release}-${thisArch}-${recipe}.tar`);
}

function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to); // On another file system.
  }
}
