/**
 * The interpreters of a root according to sources independent of the agent's table: dpkg's database, links, ELF headers read by
 * readelf, and the interpreters' own answers. The tests of detection compare with it.
 */
import { closeSync, lstatSync, openSync, readlinkSync, readSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { upstreamVersion } from "../roots/packages.ts";
import type { Root } from "../roots/root.ts";

/** An interpreter of the root; null where no source has an answer. */
export interface Installed {
  readonly name: string;
  readonly real_path: string;
  readonly version: string | null;
  readonly implementation: string;
  readonly vendor: string | null;
  readonly kind: string | null;
  /** Undefined for a script, for which any answer is accepted. */
  readonly libc: string | null | undefined;
  readonly arch: string | null | undefined;
}

/** How to recognise an interpreter by its package. */
interface InterpreterPackage {
  readonly package: RegExp;
  readonly name: string;
  readonly implementation: string;
  /** The file in the package that is the interpreter. */
  readonly program: RegExp;
  /** Prints the version of the language, if that of the package may differ. */
  readonly ask?: readonly string[];
  /** It can't print its version. */
  readonly isMute?: boolean;
}

const PACKAGES: readonly InterpreterPackage[] = [
  {
    package: /^dash$/,
    name: "shell",
    implementation: "dash",
    program: /\/bin\/dash$/,
    isMute: true,
  },
  { package: /^bash$/, name: "shell", implementation: "bash", program: /\/bin\/bash$/ },
  {
    package: /^python3\.\d+-minimal$/,
    name: "python",
    implementation: "cpython",
    program: /^\/usr\/bin\/python3\.\d+$/,
  },
  {
    package: /^pypy3$/,
    name: "python",
    implementation: "pypy",
    program: /^\/usr\/bin\/pypy3$/,
    ask: ["-c", "import platform; print(platform.python_version())"],
  },
  { package: /^nodejs$/, name: "node", implementation: "node", program: /^\/usr\/bin\/node$/ },
  {
    package: /^ruby\d\.\d$/,
    name: "ruby",
    implementation: "mri",
    program: /\/bin\/ruby\d\.\d$/,
    // Up to 3.3, with the patch level.
    ask: ["-e", "puts RUBY_DESCRIPTION.split[1]"],
  },
  { package: /^golang-[\d.]+-go$/, name: "go", implementation: "gc", program: /\/bin\/go$/ },
  {
    package: /^openjdk-\d+-jre-headless$/,
    name: "java",
    implementation: "openjdk",
    program: /\/bin\/java$/,
  },
  {
    package: /^r-base-core$/,
    name: "r",
    implementation: "gnu-r",
    program: /\/bin\/Rscript$/,
    ask: ["-e", "cat(R.version$major, R.version$minor, sep = '.')"],
  },
  { package: /^perl-base$/, name: "perl", implementation: "perl5", program: /\/bin\/perl$/ },
  { package: /^php\d\.\d-cli$/, name: "php", implementation: "php", program: /\/bin\/php\d\.\d$/ },
  { package: /^lua5\.\d$/, name: "lua", implementation: "lua", program: /\/bin\/lua5\.\d$/ },
  {
    package: /^luajit$/,
    name: "lua",
    implementation: "luajit",
    program: /\/bin\/luajit$/,
    ask: ["-e", "print((jit.version:gsub('LuaJIT ', '')))"],
  },
  { package: /^elixir$/, name: "elixir", implementation: "beam", program: /\/bin\/elixir$/ },
];

/** Package managers: the package, and the command. */
const MANAGERS: readonly {
  readonly package: string;
  readonly name: string;
  readonly path: string;
}[] = [
  { package: "apt", name: "apt", path: "/usr/bin/apt-get" },
  { package: "python3-pip", name: "pip", path: "/usr/bin/pip3" },
  { package: "npm", name: "npm", path: "/usr/bin/npm" },
  { package: "ruby-rubygems", name: "gem", path: "/usr/bin/gem" },
  { package: "perl", name: "cpan", path: "/usr/bin/cpan" },
  { package: "luarocks", name: "luarocks", path: "/usr/bin/luarocks" },
  { package: "elixir", name: "mix", path: "/usr/bin/mix" },
];

/** Every interpreter from a package. */
export async function installedInterpreters(root: Root): Promise<Installed[]> {
  const found: Installed[] = [];
  for (const [name, debianVersion] of packagesOf(root)) {
    const known = PACKAGES.find((one) => one.package.test(name));
    if (known === undefined) continue;
    const files = filesOf(root, name);
    const program = files.find((path) => known.program.test(path));
    if (program === undefined) throw new Error(`${name} has no file like ${known.program}`);
    const real_path = realPathIn(root, program);
    const isJava = known.name === "java";
    found.push({
      name: known.name,
      real_path,
      version: known.isMute
        ? null
        : known.ask === undefined
          ? upstreamVersion(debianVersion)
          : await ask(root, [program, ...known.ask]),
      implementation: known.implementation,
      vendor: isJava ? "Debian" : null,
      kind: isJava ? (isHere(root, join(dirname(real_path), "javac")) ? "jdk" : "jre") : null,
      ...elfFacts(root, real_path),
    });
  }
  return found;
}

/** Every package manager from a package. */
export function installedManagers(root: Root) {
  const versions = packagesOf(root);
  return MANAGERS.flatMap(({ package: from, name, path }) => {
    const debianVersion = versions.get(from);
    return debianVersion === undefined
      ? []
      : [{ name, path, version: upstreamVersion(debianVersion) }];
  });
}

/** The upstream version of a package, without Debian's additions. */
export function packageVersion(root: Root, name: string): string {
  const version = packagesOf(root).get(name);
  if (version === undefined) throw new Error(`${name} is not installed`);
  return upstreamVersion(version);
}

/** Resolves a path of the root, following every link inside the root. */
export function realPathIn(root: Root, path: string): string {
  let links = 0;
  let done = "/";
  const left = path.split("/");
  while (left.length > 0) {
    const next = join(done, left.shift()!);
    if (!lstatSync(root.at(next)).isSymbolicLink()) {
      done = next;
      continue;
    }
    if (++links > 40) throw new Error(`${path} is a loop of links`);
    const target = readlinkSync(root.at(next));
    left.unshift(...target.split("/"));
    if (target.startsWith("/")) done = "/";
  }
  return done;
}

/** C library and processor of a program according to readelf; both undefined for a script. */
export function elfFacts(root: Root, path: string): Pick<Installed, "libc" | "arch"> {
  const outside = root.at(path);
  if (startOf(outside) === "#!") return { libc: undefined, arch: undefined };
  const text = output(["readelf", "-hlW", outside]);
  const loader = /program interpreter: ([^\]]+)\]/.exec(text)?.[1];
  const machine = /^\s*Machine:\s*(.+)$/m.exec(text)?.[1] ?? "";
  return {
    libc:
      loader === undefined ? "static" : basename(loader).startsWith("ld-musl") ? "musl" : "glibc",
    arch: machine.includes("X86-64") ? "x86_64" : machine.toLowerCase(),
  };
}

/** The output, one line, of a program run in the root. */
async function ask(root: Root, command: readonly string[]): Promise<string> {
  const run = root.run(command, { env: { PATH: "/usr/bin:/bin" } });
  if ((await run.exit()) !== 0) throw new Error(`${command.join(" ")}: ${run.err()}`);
  return run.out().trim();
}

/** The Debian version of each package. */
function packagesOf(root: Root): ReadonlyMap<string, string> {
  const query = ["-W", "-f", "${db:Status-Abbrev}\\t${Package}\\t${Version}\\n"];
  const lines = output([...dpkgQuery(root), ...query]).split("\n");
  return new Map(
    lines.flatMap((line) => {
      const [status, name, version] = line.split("\t");
      return status?.startsWith("ii") ? [[name!, version!]] : [];
    }),
  );
}

function filesOf(root: Root, name: string): string[] {
  return output([...dpkgQuery(root), "-L", name]).split("\n");
}

function dpkgQuery(root: Root): string[] {
  return ["dpkg-query", `--admindir=${root.at("/var/lib/dpkg")}`];
}

function isHere(root: Root, path: string): boolean {
  return lstatSync(root.at(path), { throwIfNoEntry: false }) !== undefined;
}

function startOf(path: string): string {
  const bytes = Buffer.alloc(2);
  const fd = openSync(path, "r");
  try {
    readSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
  return bytes.toString("latin1");
}

function output(command: readonly string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync([...command], {
    env: { ...process.env, LC_ALL: "C" },
  });
  if (!success) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
  return stdout.toString();
}

/** A field of the root's /etc/os-release, read by a shell. */
export function osRelease(root: Root, field: string): string {
  const script = `. "$1"; printf %s "$${field}"`;
  return output(["sh", "-c", script, "sh", root.at(realPathIn(root, "/etc/os-release"))]);
}

/** This machine's kernel, which is also that of the roots. */
export function uname(option: "-m" | "-r"): string {
  return output(["uname", option]).trim();
}
