/**
 * A Debian with an interpreter of every packaged language, installed as apt does, with maintainer scripts and alternatives. It is
 * built once by mmdebstrap, which does not touch this machine's apt and dpkg, and kept. Used by the tests and the bench of
 * detection. Takes about a minute and 1.3 GB; a JDK besides the JRE, and .NET, are omitted for their size.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CACHE, otherRelease, problemOf, sourceOf } from "../roots/packages.ts";

const BUILD_MS_MAX = 480_000;
const PREFIX = "languages-";
/** Below /usr/share, except /usr/share/man/man1, without which java's alternatives can't be set up. */
const UNWANTED = ["doc/*", "locale/*", "man/??/*", "man/??_*/*"];
const PACKAGES = [
  ["apt", "bash", "busybox-static", "dash"],
  ["python3", "python3-venv", "python3-pip", "pypy3", "pypy3-venv"],
  ["nodejs", "npm", "ruby", "perl", "php-cli"],
  ["lua5.1", "lua5.4", "luajit", "luarocks"],
  ["golang-go", "default-jre-headless", "r-base-core", "elixir"],
].flat();

/** Its virtual environments `/envs/<name>`, by the interpreter that creates them. */
export const ENVIRONMENTS: Readonly<Record<string, string>> = {
  "by-python": "python3",
  "by-pypy": "pypy3",
};

export interface LanguagesRoot {
  readonly dir: string;
}

/** Returns the root, building it first if needed; or the reason why it is not available. */
export async function languagesRoot(): Promise<LanguagesRoot | string> {
  const built = builtLanguagesRoot();
  if (built !== undefined) return { dir: built };
  if (Bun.which("mmdebstrap") === null) return "mmdebstrap (Debian: mmdebstrap)";
  const release = otherRelease();
  const source = release && (await sourceOf(release));
  if (!release || !source) return "a Debian whose apt-get knows a mirror";
  mkdirSync(CACHE, { recursive: true });
  const partial = mkdtempSync(join(CACHE, "partial-"));
  try {
    const dir = join(partial, "root");
    const problem = await build(dir, release, source);
    if (problem !== undefined) return `a Debian ${release} with many languages: ${problem}`;
    const name = nameOf(release);
    for (const old of readdirSync(CACHE))
      if (old.startsWith(PREFIX) && old !== name) rmSync(join(CACHE, old), { recursive: true });
    const kept = join(CACHE, name);
    // Another run may have created it first.
    if (!existsSync(kept)) renameSync(dir, kept);
    return { dir: kept };
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** The directory of the root; undefined if it has not been built. */
export function builtLanguagesRoot(): string | undefined {
  const release = otherRelease();
  const dir = release && join(CACHE, nameOf(release));
  return dir && existsSync(dir) ? dir : undefined;
}

/** A different recipe gives a different root. */
function nameOf(release: string): string {
  const recipe = JSON.stringify([PACKAGES, UNWANTED, ENVIRONMENTS]);
  return `${PREFIX}${release}-${process.arch}-${Bun.hash(recipe).toString(36)}`;
}

async function build(dir: string, release: string, source: string): Promise<string | undefined> {
  const options = [
    ...UNWANTED.map((glob) => `--dpkgopt=path-exclude=/usr/share/${glob}`),
    ...Object.entries(ENVIRONMENTS).map(
      ([name, python]) =>
        `--customize-hook=chroot "$1" ${python} -m venv --without-pip /envs/${name}`,
    ),
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=force-unsafe-io",
    `--include=${PACKAGES.join(",")}`,
  ];
  const command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", ...options];
  return problemOf([...command, release, dir, source], "/", BUILD_MS_MAX);
}
