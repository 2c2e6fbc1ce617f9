/** Compiles the apps into standalone binaries. Used by build, dist, test, demo, dev, chaos and bench. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import rootPackage from "../../package.json" with { type: "json" };
import { root } from "./root.ts";

/** The binaries, and the directories in `apps/` that go into each. The first one has the `src/main.ts`. */
const BINARIES: Readonly<Record<string, readonly string[]>> = {
  "fleet-agent": ["agent"],
  "fleet-coordinator": ["coordinator"],
  "fleet-tracker": ["tracker"],
};

/** Files besides the sources that affect the output. */
const RECIPE = ["bun.lock", "package.json", "tsconfig.json", "scripts/lib/build-binaries.ts"];

/** The licenses of the libraries that the static linker adds. */
const NOTICE = "packages/static-elf/NOTICE";

/** The directory of the binaries. */
export const dist = join(root, "dist");

/** A binary in `dist/`. `ms` is undefined if it was already up to date. */
export interface Built {
  /** Relative to the repository. */
  readonly path: string;
  readonly bytes: number;
  readonly ms: number | undefined;
}

/** An app did not compile, or no binary has that name. The message is for the user. */
export class BuildError extends Error {
  readonly code = "build_failed";
}

/** The supported processors. */
export const ARCHES = ["x86_64", "aarch64"] as const;
export type Arch = (typeof ARCHES)[number];

/** Build options. */
export interface BuildOptions {
  /** Build even if nothing has changed. */
  readonly force?: boolean;
  /** Link dynamically. Needs no C compiler, but the binary runs only where glibc is. */
  readonly dynamic?: boolean;
  /** Without a C compiler, link dynamically instead of failing. */
  readonly dynamicIfNeeded?: boolean;
  /** Default: this machine's. Binaries for the other one go to `dist/ARCH/`. */
  readonly arch?: Arch;
}

/** The processor of this machine. */
export const thisArch: Arch = process.arch === "arm64" ? "aarch64" : "x86_64";

/** Bun's compile targets. `baseline` also runs on CPUs without AVX2. */
const TARGETS = { x86_64: "bun-linux-x64-baseline", aarch64: "bun-linux-arm64" } as const;

/** Builds the named binaries in parallel, or all if `names` is empty. Throws `BuildError`. */
export async function buildBinaries(
  names: readonly string[] = [],
  options: BuildOptions = {},
): Promise<readonly Built[]> {
  for (const name of names) {
    if (BINARIES[name] === undefined)
      throw new BuildError(
        `unknown binary ${name}; choose from ${Object.keys(BINARIES).join(", ")}`,
      );
  }
  const wanted = names.length > 0 ? names : Object.keys(BINARIES);
  const results = await Promise.allSettled(wanted.map((name) => buildOne(name, options)));
  const problems = results.flatMap((r) => (r.status === "rejected" ? [messageOf(r.reason)] : []));
  if (problems.length > 0) throw new BuildError([...new Set(problems)].join("\n"));
  return results.flatMap((r) => (r.status === "fulfilled" ? [r.value] : []));
}

function messageOf(error: unknown): string {
  return error instanceof BuildError ? error.message : Bun.inspect(error);
}

async function buildOne(name: string, options: BuildOptions): Promise<Built> {
  const { arch = thisArch, force = false, dynamic = false, dynamicIfNeeded = false } = options;
  const apps = BINARIES[name]!;
  const inputs = ["packages", ...apps.map((app) => `apps/${app}`)];
  const commit = commitOf([...inputs, ...RECIPE]);
  const stamp = `${hashInputs(inputs)} ${commit} ${dynamic ? "dynamic" : "static"}`;
  const dir = arch === thisArch ? dist : join(dist, arch);
  mkdirSync(dir, { recursive: true });
  const outfile = join(dir, name);
  const stampFile = join(dir, `.${name}.stamp`);
  const unchanged =
    !force &&
    existsSync(outfile) &&
    existsSync(stampFile) &&
    readFileSync(stampFile, "utf8") === stamp;
  const path = relative(root, outfile);
  if (unchanged) return { path, bytes: statSync(outfile).size, ms: undefined };
  const startMs = performance.now();
  // Write a new file and rename it, because the binary may be running or another process may be building it. The new file has
  // the final name, in a directory of its own, because the name becomes part of the binary and builds must be reproducible.
  const partialDir = join(dir, `.${name}.${process.pid}`);
  const partial = join(partialDir, name);
  try {
    mkdirSync(partialDir, { recursive: true });
    const entry = join(root, "apps", apps[0]!, "src/main.ts");
    const linker = dynamic ? undefined : await loadLinker(arch, dynamicIfNeeded);
    await compile(entry, partial, arch, commit, linker?.libc ?? "");
    linker?.link(partial);
    if (linker !== undefined) copyFileSync(join(root, NOTICE), join(dir, "NOTICE"));
    renameSync(partial, outfile);
    writeFileSync(stampFile, dynamic === (linker === undefined) ? stamp : "");
  } finally {
    rmSync(partialDir, { recursive: true, force: true });
  }
  return { path, bytes: statSync(outfile).size, ms: performance.now() - startMs };
}

interface Linker {
  /** The C library that is linked in. */
  readonly libc: string;
  link(path: string): void;
}

/** Loads the static linker. Imports it late, because it exists only once dependencies are installed. */
async function loadLinker(arch: Arch, isOptional: boolean): Promise<Linker | undefined> {
  const { compileStub, glibcVersion, linkStatic, StaticElfError } =
    await import("@fleet/static-elf");
  try {
    const libc = glibcVersion(arch);
    const stub = compileStub(arch);
    return {
      libc,
      link(path) {
        const { bytes } = linkStatic(path, new Uint8Array(readFileSync(path)), { stub });
        writeFileSync(path, bytes);
      },
    };
  } catch (error) {
    if (!(error instanceof StaticElfError)) throw error;
    if (isOptional) return undefined;
    throw new BuildError(`${error.message}; --dynamic builds without it, for systems with glibc`, {
      cause: error,
    });
  }
}

/**
 * Compiles an app, dynamically linked. Uses ESM because Bun 1.4.5 accepts bytecode with top-level await only in that format.
 * Minifies only the syntax, because class names appear in logs. The binary must not read `.env` or `bunfig.toml` from the
 * directory it is started in, because either can make it run foreign code.
 */
export async function compile(
  entry: string,
  outfile: string,
  arch: Arch,
  commit: string,
  libc: string,
): Promise<void> {
  const result = await Bun.build({
    entrypoints: [entry],
    target: "bun",
    format: "esm",
    bytecode: true,
    minify: { syntax: true },
    // Lets the coordinator read the version of a binary that it cannot run, such as one for another processor.
    banner: `// fleet-version ${rootPackage.version}`,
    define: {
      FLEET_VERSION: JSON.stringify(rootPackage.version),
      FLEET_COMMIT: JSON.stringify(commit),
      FLEET_LIBC: JSON.stringify(libc),
      // Bun would insert the build machine's directory here, which means nothing where the binary runs.
      __dirname: JSON.stringify("/$bunfs/root"),
    },
    compile: {
      target: TARGETS[arch],
      outfile,
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadTsconfig: false,
      autoloadPackageJson: false,
    },
    throw: false,
  });
  if (!result.success) throw new BuildError(result.logs.map((log) => Bun.inspect(log)).join("\n"));
}

function hashInputs(dirs: readonly string[]): string {
  const hasher = new Bun.CryptoHasher("sha256");
  const add = (path: string): void => {
    hasher.update(`${path}\0`);
    hasher.update(readFileSync(join(root, path)));
  };
  hasher.update(Bun.version);
  for (const path of RECIPE) add(path);
  for (const dir of dirs) {
    const paths = [...new Bun.Glob(`${dir}/**/*`).scanSync({ cwd: root, dot: true })];
    for (const path of paths.toSorted()) {
      if (!/(^|\/)(node_modules|test)\/|\.test\.ts$/.test(path)) add(path);
    }
  }
  return hasher.digest("hex");
}

/**
 * Returns the last commit that touched `paths`, with a `+` if they have uncommitted changes. Outside a git clone, returns
 * FLEET_REVISION or "unknown".
 */
function commitOf(paths: readonly string[]): string {
  const fallback = process.env["FLEET_REVISION"] || "unknown";
  const git = (...args: string[]): string | undefined => {
    const { exitCode, stdout } = Bun.spawnSync(["git", ...args, "--", ...paths], { cwd: root });
    return exitCode === 0 ? stdout.toString().trim() : undefined;
  };
  try {
    const commit = git("log", "-1", "--format=%h");
    if (commit === undefined || commit === "") return fallback;
    return git("status", "--porcelain") === "" ? commit : `${commit}+`;
  } catch {
    return fallback;
  }
}
