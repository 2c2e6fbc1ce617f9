/** Which package managers an image has, and of which version. They are never run. (A7) */
import { realpathSync } from "node:fs";
import type { PackageManager } from "../image-report.ts";
import { mayExecute } from "../inspect/inspect-executable.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { packageDatabases } from "./package-databases.ts";
import { printable } from "../inspect/printable.ts";
import { newestFirst } from "../probe/search-path.ts";
import { textAfter } from "../inspect/text-in-file.ts";

interface Manager {
  readonly name: string;
  readonly candidates: readonly string[];
  /** The package of dpkg, apk or opkg it comes in, when that isn't its own name. */
  readonly packages?: readonly string[];
  /** Where else its version stands. */
  readonly from?: VersionFrom;
}

/** `prefix` is the directory above the program's real `bin`; the first that says something wins. */
type VersionFrom = (at: {
  readonly realPath: string;
  readonly prefix: string;
  readonly observer: FileObserver;
}) => string | undefined;

/** Of systems first, then of languages; where two names mean one manager, the first found stands for it. */
const MANAGERS: readonly Manager[] = [
  { name: "apt", candidates: ["apt-get", "apt"] },
  { name: "apk", candidates: ["apk"], packages: ["apk-tools"] },
  { name: "dnf", candidates: ["dnf", "dnf5"], from: pythonPackage("dnf") },
  { name: "microdnf", candidates: ["microdnf"] },
  { name: "yum", candidates: ["yum"] },
  { name: "zypper", candidates: ["zypper"] },
  { name: "pacman", candidates: ["pacman"], from: pacmanDatabase },
  { name: "opkg", candidates: ["opkg"] },
  { name: "xbps", candidates: ["xbps-install"] },
  { name: "nix", candidates: ["nix-env"], from: nixStore },
  {
    name: "pip",
    candidates: ["pip3", "pip"],
    packages: ["python3-pip", "py3-pip"],
    from: pythonPackage("pip"),
  },
  { name: "uv", candidates: ["uv"], from: pythonPackage("uv") },
  {
    name: "poetry",
    candidates: ["poetry"],
    packages: ["python3-poetry"],
    from: pythonPackage("poetry"),
  },
  { name: "conda", candidates: ["conda", "mamba", "micromamba"], from: condaPackage },
  { name: "npm", candidates: ["npm"], from: nodePackage("npm") },
  { name: "yarn", candidates: ["yarn", "yarnpkg"], from: nodePackage("yarn") },
  { name: "pnpm", candidates: ["pnpm"], from: nodePackage("pnpm") },
  { name: "gem", candidates: ["gem"], packages: ["ruby-rubygems"], from: rubygems },
  { name: "bundler", candidates: ["bundle"], packages: ["ruby-bundler"], from: rubyGem("bundler") },
  { name: "composer", candidates: ["composer"], from: composer },
  { name: "cpan", candidates: ["cpanm", "cpan"], packages: ["cpanminus"] },
  { name: "luarocks", candidates: ["luarocks"] },
  { name: "mix", candidates: ["mix"], packages: ["elixir"], from: elixir },
  { name: "maven", candidates: ["mvn"], from: maven },
  // Debian numbers the package otherwise than the program.
  { name: "cargo", candidates: ["cargo"], packages: [] },
];

/** Directories of the system, whose programs come from its packages. */
const PACKAGED = /^\/(?:usr\/)?s?bin\//;

/** `dirs` is the search path, see `searchPath`. */
export function findPackageManagers(
  dirs: readonly string[],
  observer: FileObserver,
): PackageManager[] {
  const databaseVersion = packageDatabases();
  const found: PackageManager[] = [];
  for (const manager of MANAGERS) {
    const path = manager.candidates
      .flatMap((candidate) =>
        dirs.filter((dir) => observer.mayHave(dir, candidate)).map((dir) => `${dir}/${candidate}`),
      )
      .find((file) => isProgram(file, observer));
    if (path === undefined) continue;
    const realPath = realPathOf(path);
    const prefix = realPath.slice(0, realPath.lastIndexOf("/")).replace(/\/bin$/, "");
    const said = manager.from?.({ realPath, prefix, observer });
    const packages = PACKAGED.test(path) ? (manager.packages ?? [manager.name]) : [];
    const version = said ?? firstOf(packages, databaseVersion);
    found.push({
      name: manager.name,
      path,
      version: version === null ? null : printable(version, 64),
    });
  }
  return found;
}

function firstOf(
  names: readonly string[],
  versionOf: (name: string) => string | null,
): string | null {
  for (const name of names) {
    const version = versionOf(name);
    if (version !== null) return version;
  }
  return null;
}

/** The `dist-info` of a Python package, in the prefix's own site-packages or Debian's. */
function pythonPackage(name: string): VersionFrom {
  const info = new RegExp(`^${name}-([\\d][^-]*)\\.dist-info$`);
  const findIn = (dir: string, observer: FileObserver): string | undefined =>
    observer
      .list(dir)
      .flatMap((entry) => info.exec(entry)?.[1] ?? [])
      .toSorted(newestFirst)[0];
  return ({ prefix, observer }) => {
    const lib = `${prefix}/lib`;
    const pythons = observer
      .list(lib)
      .filter((entry) => /^python3\.\d+t?$/.test(entry))
      .toSorted(newestFirst);
    for (const python of pythons)
      for (const packages of ["site-packages", "dist-packages"]) {
        const version = findIn(`${lib}/${python}/${packages}`, observer);
        if (version !== undefined) return version;
      }
    return findIn(`${lib}/python3/dist-packages`, observer);
  };
}

/** The `package.json` above a JavaScript program, when it is of that package: corepack has programs of these names too. */
function nodePackage(name: string): VersionFrom {
  return ({ realPath, observer }) => {
    let dir = realPath;
    for (let up = 0; up < 3; up++) {
      dir = dir.slice(0, dir.lastIndexOf("/"));
      const text = observer.text(`${dir}/package.json`);
      if (text === undefined) continue;
      if (field(text, "name") !== name) return undefined;
      return field(text, "version");
    }
    return undefined;
  };
}

/** A string of a JSON text that need not be whole. */
function field(json: string, key: string): string | undefined {
  return new RegExp(`"${key}"\\s*:\\s*"([^"]+)"`).exec(json)?.[1];
}

function rubygems({ prefix, observer }: Parameters<VersionFrom>[0]): string | undefined {
  const ruby = `${prefix}/lib/ruby`;
  const versions = observer.list(ruby).filter((entry) => /^\d/.test(entry));
  const files = [
    ...observer.list(`${ruby}/site_ruby`).map((entry) => `${ruby}/site_ruby/${entry}/rubygems.rb`),
    `${ruby}/vendor_ruby/rubygems.rb`,
    ...versions.toSorted(newestFirst).map((entry) => `${ruby}/${entry}/rubygems.rb`),
  ];
  for (const file of files) {
    if (observer.at(file).at !== "there") continue;
    const version = /^ = "(\d[^"]*)"/.exec(textAfter(file, "VERSION", 24) ?? "")?.[1];
    if (version !== undefined) return version;
  }
  return undefined;
}

function rubyGem(name: string): VersionFrom {
  const spec = new RegExp(`^${name}-(\\d[\\w.]*)\\.gemspec$`);
  return ({ prefix, observer }) => {
    const gems = `${prefix}/lib/ruby/gems`;
    return observer
      .list(gems)
      .flatMap((abi) => ["", "/default"].map((sub) => `${gems}/${abi}/specifications${sub}`))
      .flatMap((dir) => observer.list(dir))
      .flatMap((entry) => spec.exec(entry)?.[1] ?? [])
      .toSorted(newestFirst)[0];
  };
}

function composer({ realPath }: Parameters<VersionFrom>[0]): string | undefined {
  return /^\d+\.\d+\.\d+/.exec(textAfter(realPath, "const VERSION = '", 16) ?? "")?.[0];
}

function elixir({ prefix, observer }: Parameters<VersionFrom>[0]): string | undefined {
  const texts = [prefix, `${prefix}/lib/elixir`].map((dir) => observer.text(`${dir}/VERSION`));
  return texts.find((text) => /^\d/.test(text ?? ""))?.trim();
}

function maven({ prefix, observer }: Parameters<VersionFrom>[0]): string | undefined {
  return observer
    .list(`${prefix}/lib`)
    .flatMap((entry) => /^maven-core-(\d+\.\d+\.[\w.-]+)\.jar$/.exec(entry)?.[1] ?? [])[0];
}

function condaPackage({ prefix, observer }: Parameters<VersionFrom>[0]): string | undefined {
  return observer
    .list(`${prefix}/conda-meta`)
    .flatMap((entry) => /^conda-(\d[\w.]*)-.*\.json$/.exec(entry)?.[1] ?? [])[0];
}

function pacmanDatabase({ observer }: Parameters<VersionFrom>[0]): string | undefined {
  return observer
    .list("/var/lib/pacman/local")
    .flatMap((entry) => /^pacman-(\d[\w.]*)-/.exec(entry)?.[1] ?? [])[0];
}

function nixStore({ realPath }: Parameters<VersionFrom>[0]): string | undefined {
  return /^\/nix\/store\/[^/]*-nix-(\d[\w.]*)\//.exec(realPath)?.[1];
}

/** Looked at only where its directory is known already. */
function isProgram(path: string, observer: FileObserver): boolean {
  const look = observer.at(path, true);
  return look.at === "there" && look.stat.isFile() && mayExecute(path);
}

function realPathOf(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return path;
  }
}
