/**
 * Stand-ins for the stock images that users have, made here because no registry is asked: two of another Debian with an
 * interpreter each, one of busybox, one whose loader, libraries and variables are hostile, one with nothing. (A1, A3)
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
/** Below /usr/share. */
const UNWANTED = ["doc/*", "locale/*", "man/*"];
/** Nobody is there. */
const PROXY = "http://127.0.0.1:9";

/** Ours, as compose.yaml calls them. */
export const AGENT_IMAGE = `fleet-agent:${version}`;
export const COORDINATOR_IMAGE = `fleet-coordinator:${version}`;

/** An image, and the sensor that its agent runs: its runtime and command. */
export interface StandIn {
  readonly name: string;
  readonly runtime: string;
  readonly sensor: string;
  /** Packages of a Debian; none: it is made by `docker build`. */
  readonly packages?: string;
}

/** The names are those of the images. */
export const STAND_INS: readonly StandIn[] = [
  { name: "python", runtime: "python", sensor: "numbers.py", packages: "python3" },
  { name: "node", runtime: "node", sensor: "numbers.mjs", packages: "nodejs" },
  { name: "busybox", runtime: "shell", sensor: "numbers.sh" },
  { name: "poisoned", runtime: "native", sensor: "numbers" },
  { name: "empty", runtime: "native", sensor: "numbers" },
];

/** Fetches what the images are made of, to be kept; or says why that can't be had. */
export async function fetchStandIns(): Promise<readonly string[]> {
  const release = otherRelease();
  const source = release && (await sourceOf(release));
  if (!release || !source) return ["a Debian whose apt-get knows a mirror"];
  mkdirSync(CACHE, { recursive: true });
  const fetched = STAND_INS.map(async ({ packages }) => {
    if (packages === undefined || existsSync(archiveOf(packages, release))) return undefined;
    return bootstrap(packages, release, source);
  });
  return (await Promise.all(fetched)).filter((problem) => problem !== undefined);
}

/** Makes all images, those of the agent and the coordinator included. */
export async function makeImages(engine: Engine): Promise<void> {
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

/** Builds an image from a Dockerfile and the files it copies: where each comes from, or what is in it. */
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

/** Ours, as compose.yaml has them built, from what has been compiled here. */
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
  // Without any module that works, no program of the image would find the coordinator's address.
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

/** Where programs of a Debian look for them. */
function loaderAndLibraries(): readonly string[] {
  const { ldso, triple } = PROCESSORS[thisArch];
  const names = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libnss_dns.so.2"];
  const dirs = ["/lib", "/usr/lib", `/lib/${triple}`, `/usr/lib/${triple}`];
  return [ldso, ...dirs.flatMap((dir) => names.map((name) => `${dir}/${name}`))];
}

/** Installs `packages` of another Debian into an archive that is kept, in place of older ones; says what went wrong. */
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
    return `a Debian ${release} with ${packages}: ${problem}`;
  }
  for (const name of readdirSync(CACHE))
    if (name.startsWith(`${packages}-`) && join(CACHE, name) !== partial) rmSync(join(CACHE, name));
  renameSync(partial, archive);
  return undefined;
}

/** Another recipe is another archive. */
function archiveOf(packages: string, release: string): string {
  const recipe = Bun.hash(JSON.stringify([packages, UNWANTED])).toString(36);
  return join(CACHE, `${packages}-${release}-${thisArch}-${recipe}.tar`);
}

function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to); // Of another file system.
  }
}
