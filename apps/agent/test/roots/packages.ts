/**
 * Files of a Debian release other than this machine's, and on request for another processor: real shells, loaders and C
 * libraries that the agent was not built with. apt-get fetches them with separate index and state directories, so that this
 * machine's are not touched. They are kept unpacked in node_modules/.cache.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Arch, PROCESSORS } from "./processor.ts";

/** The directory of the unpacked packages. */
export const CACHE = join(import.meta.dir, "../../../../node_modules/.cache/roots");
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const PACKAGES = [
  "base-files",
  "busybox-static",
  "dash",
  "libc6",
  "libcrypt1",
  "musl",
  "musl-dev",
  "perl-base",
];
const SOURCE = "lua5.4";
const FETCH_MS_MAX = 120_000;
const LAST_WORDS_MAX = 2000;

/** The directory of each unpacked package; that of SOURCE contains the upstream archive. */
export interface Packages {
  dir(name: string): string;
  /** A file in it: `bin/dash` may be in /usr or not, depending on the release. */
  file(name: string, path: string): string;
  /** The upstream version, without Debian's additions. */
  version(name: string): string;
}

/** The upstream version in a Debian version, `epoch:upstream+dfsg-revision`. */
export function upstreamVersion(version: string): string {
  return version
    .replace(/^\d+:/, "")
    .replace(/-[^-]*$/, "")
    .replace(/[+~].*$/, "")
    .replace(/\.dfsg$/, "");
}

/** The packages for `arch`, or the reason why they are not available. */
export async function fetchPackages(arch: Arch): Promise<Packages | string> {
  const release = otherRelease();
  if (release === undefined) return "a Debian with its archive's keys (debian-archive-keyring)";
  const contents = Bun.hash(JSON.stringify([PACKAGES, SOURCE])).toString(36);
  const dir = join(CACHE, `${release}-${arch}-${contents}`);
  const packages: Packages = {
    dir: (name) => join(dir, name),
    file: (name, path) => ["usr", ""].map((top) => join(dir, name, top, path)).find(existsSync)!,
    version: (name) => upstreamVersion(readFileSync(join(dir, `${name}.version`), "utf8")),
  };
  if (existsSync(dir)) return packages;
  mkdirSync(CACHE, { recursive: true });
  const partial = mkdtempSync(join(CACHE, "partial-"));
  try {
    const problem = await unpackInto(partial, release, arch);
    if (problem !== undefined) return `packages of Debian ${release} for ${arch}: ${problem}`;
    // Another run may have created it first.
    if (!existsSync(dir)) renameSync(partial, dir);
    return packages;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** The release of the roots: not this machine's, so that tests can't find this machine's files. Undefined if this is not Debian. */
export function otherRelease(): string | undefined {
  const here = codename();
  if (here === undefined) return undefined;
  return here === "trixie" ? "bookworm" : "trixie";
}

/** The line of a sources.list for `release`; undefined if apt-get has no mirror for this machine. */
export async function sourceOf(release: string): Promise<string | undefined> {
  const mirror = await mirrorOf(codename());
  return mirror && `deb [signed-by=${KEYRING}] ${mirror} ${release} main`;
}

/** This machine's release, if it is Debian. */
function codename(): string | undefined {
  if (!existsSync(KEYRING)) return undefined;
  const text = readFileSync("/etc/os-release", "utf8");
  return /^ID="?debian"?$/m.test(text)
    ? /^VERSION_CODENAME="?(\w+)"?$/m.exec(text)?.[1]
    : undefined;
}

async function unpackInto(dir: string, release: string, arch: Arch): Promise<string | undefined> {
  const source = await sourceOf(release);
  if (source === undefined) return "apt-get knows no mirror of this release to take them from";
  const apt = join(dir, ".apt");
  for (const part of ["lists/partial", "archives/partial", "debs"])
    mkdirSync(join(apt, part), { recursive: true });
  const sources = `${source}\n${source.replace(/^deb /, "deb-src ")}\n`;
  writeFileSync(join(apt, "sources.list"), sources);
  writeFileSync(join(apt, "status"), "");
  const { debianArch } = PROCESSORS[arch];
  const options = {
    "Dir::State": apt,
    "Dir::State::status": join(apt, "status"),
    "Dir::Cache": apt,
    "Dir::Etc::sourcelist": join(apt, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "APT::Architecture": debianArch,
    "APT::Architectures": debianArch,
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
  };
  const flags = Object.entries(options).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  const debs = join(apt, "debs");
  const sourceDir = join(dir, SOURCE);
  mkdirSync(sourceDir);
  const commands: readonly (readonly [cwd: string, args: readonly string[]])[] = [
    [dir, ["update"]],
    [debs, ["download", ...PACKAGES]],
    [sourceDir, ["source", "--download-only", SOURCE]],
  ];
  for (const [cwd, args] of commands) {
    const problem = await problemOf(["apt-get", "-q", ...flags, ...args], cwd);
    if (problem !== undefined) return problem;
  }
  for (const deb of readdirSync(debs)) {
    const [name, version] = deb.split("_") as [string, string];
    const problem = await problemOf(["dpkg-deb", "-x", join(debs, deb), join(dir, name)], dir);
    if (problem !== undefined) return problem;
    writeFileSync(join(dir, `${name}.version`), decodeURIComponent(version));
  }
  rmSync(apt, { recursive: true });
  return undefined;
}

/** The mirror of this machine's own release. */
async function mirrorOf(here: string | undefined): Promise<string | undefined> {
  const { stdout } = await run(["apt-get", "update", "--print-uris"], "/");
  for (const [, mirror, suite] of stdout.matchAll(/^'([^']+)\/dists\/([^/']+)\/InRelease'/gm))
    if (suite === here || suite === "stable") return mirror;
  return undefined;
}

/** Runs a command of this machine. Returns its error in one line, or undefined. */
export async function problemOf(
  command: readonly string[],
  cwd: string,
  timeoutMs = FETCH_MS_MAX,
): Promise<string | undefined> {
  const { code, stderr } = await run(command, cwd, timeoutMs);
  if (code === 0) return undefined;
  const lastWords = stderr
    .trim()
    .slice(-LAST_WORDS_MAX)
    .replaceAll(/\s*\n\s*/g, " | ");
  return `${command[0]} ended with ${code}: ${lastWords}`;
}

async function run(command: readonly string[], cwd: string, timeoutMs = FETCH_MS_MAX) {
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...process.env, LC_ALL: "C" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: timeoutMs,
  });
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { stdout, stderr, code };
}
