/** Compiles apps into stand-alone binaries. Used by build, test, demo and bench. */
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

/** What can be built, and the directories of `apps/` that go into it. Their first has the `src/main.ts`. */
const BINARIES: Readonly<Record<string, readonly string[]>> = {
  "fleet-agent": ["agent"],
  "fleet-coordinator": ["coordinator"],
  "fleet-tracker": ["tracker"],
};

/** Files beside the sources that decide what comes out. */
const RECIPE = ["bun.lock", "package.json", "tsconfig.json", "scripts/lib/build-binaries.ts"];

/** The licenses of what the static linker puts in. */
const NOTICE = "packages/static-elf/NOTICE";

/** Where the binaries are. */
export const dist = join(root, "dist");

/** A binary in `dist/`; `ms` is undefined when it was there already. */
export interface Built {
  /** Relative to the repository. */
  readonly path: string;
  readonly bytes: number;
  readonly ms: number | undefined;
}

/** An app did not compile, or there is none of that name. The message is for the user. */
export class BuildError extends Error {
  readonly code = "build_failed";
}

/** Processors a build can be for. */
export const ARCHES = ["x86_64", "aarch64"] as const;
export type Arch = (typeof ARCHES)[number];

/** How to build. */
export interface BuildOptions {
  /** Build even when nothing has changed. */
  readonly force?: boolean;
  /** Leave the system's loader and C library out of the file: needs no C compiler, starts only where glibc is. */
  readonly dynamic?: boolean;
  /** Without a C compiler, build dynamically instead of failing. */
  readonly dynamicIfNeeded?: boolean;
  /** Default: this machine's. Another one's binaries go to `dist/ARCH/`. */
  readonly arch?: Arch;
}

/** The processor of this machine. */
export const thisArch: Arch = process.arch === "arm64" ? "aarch64" : "x86_64";

/** For CPUs without AVX2 too. */
const TARGETS = { x86_64: "bun-linux-x64-baseline", aarch64: "bun-linux-arm64" } as const;

/** Builds the binaries called `names` (all when empty), in parallel. */
export async function buildBinaries(
  names: readonly string[] = [],
  options: BuildOptions = {},
): Promise<readonly Built[]> {
  for (const name of names) {
    if (BINARIES[name] === undefined)
      throw new BuildError(
        `no binary is called ${name}; there are ${Object.keys(BINARIES).join(", ")}`,
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
  // A file of its own, then a rename: the binary may be running, or be built by someone else just now. In a directory of its
  // own, since the name of the file goes into it, and two builds shall give the same bytes.
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
  /** The C library that goes in. */
  readonly libc: string;
  link(path: string): void;
}

/** The static linker, loaded late because it exists only once dependencies are installed. */
async function loadLinker(arch: Arch, mayLack: boolean): Promise<Linker | undefined> {
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
    if (mayLack) return undefined;
    throw new BuildError(
      `${error.message}; --dynamic builds without it, for roots that have glibc`,
      { cause: error },
    );
  }
}

/**
 * Compiles an app, dynamically linked. ESM, because Bun 1.4.5 takes `--bytecode` with top-level await only in that format (its default with bytecode is CommonJS,
 * which refuses it). Names are kept: only the syntax is minified, and class names show up in logs. The binary must not
 * read `.env` and `bunfig.toml` of whatever directory it is started in: either can make it run foreign code.
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
    // Tells the version to who can't run the file: the coordinator's downloads are for other processors too.
    banner: `// fleet-version ${rootPackage.version}`,
    define: {
      FLEET_VERSION: JSON.stringify(rootPackage.version),
      FLEET_COMMIT: JSON.stringify(commit),
      FLEET_LIBC: JSON.stringify(libc),
      // Bun writes the build machine's directory in place of this. It would mean nothing where the binary runs.
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

/** The last commit that touched `paths`, with a `+` when they have changed since; outside a git clone FLEET_REVISION, or "unknown". */
function commitOf(paths: readonly string[]): string {
  const told = process.env["FLEET_REVISION"] || "unknown";
  const git = (...args: string[]): string | undefined => {
    const { exitCode, stdout } = Bun.spawnSync(["git", ...args, "--", ...paths], { cwd: root });
    return exitCode === 0 ? stdout.toString().trim() : undefined;
  };
  try {
    const commit = git("log", "-1", "--format=%h");
    if (commit === undefined || commit === "") return told;
    return git("status", "--porcelain") === "" ? commit : `${commit}+`;
  } catch {
    return told;
  }
}
