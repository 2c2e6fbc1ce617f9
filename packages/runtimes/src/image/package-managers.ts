/** Finds the package managers of an image and their versions, without running them. (A7) */
import type { PackageManager } from "../image-report.ts";
import { mayExecute, realPathOf } from "../inspect/inspect-executable.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { packageDatabases } from "./package-databases.ts";
import { printable } from "../inspect/printable.ts";
import { newestFirst } from "../probe/search-path.ts";
import { textAfter } from "../inspect/text-in-file.ts";

interface Manager {
  readonly name: string;
  readonly candidates: readonly string[];
  /** Names of its package in dpkg, apk or opkg. Default: its own name. */
  readonly packages?: readonly string[];
  /** Reads the version from its own files, before the package databases are consulted. */
  readonly readVersion?: VersionReader;
}

/** `prefix` is the parent of the `bin` directory that contains `realPath`. */
type VersionReader = (at: {
  readonly realPath: string;
  readonly prefix: string;
  readonly observer: FileObserver;
}) => string | undefined;

/** Managers of distributions first, then those of languages. If several candidates exist, the first is reported. */
const MANAGERS: readonly Manager[] = [
  { name: "apt", candidates: ["apt-get", "apt"] },
  { name: "apk", candidates: ["apk"], packages: ["apk-tools"] },
  { name: "dnf", candidates: ["dnf", "dnf5"], readVersion: pythonPackage("dnf") },
  { name: "microdnf", candidates: ["microdnf"] },
  { name: "yum", candidates: ["yum"] },
  { name: "zypper", candidates: ["zypper"] },
  { name: "pacman", candidates: ["pacman"], readVersion: pacmanDatabase },
  { name: "opkg", candidates: ["opkg"] },
  { name: "xbps", candidates: ["xbps-install"] },
  { name: "nix", candidates: ["nix-env"], readVersion: nixStore },
  {
    name: "pip",
    candidates: ["pip3", "pip"],
    packages: ["python3-pip", "py3-pip"],
    readVersion: pythonPackage("pip"),
  },
  { name: "uv", candidates: ["uv"], readVersion: pythonPackage("uv") },
  {
    name: "poetry",
    candidates: ["poetry"],
    packages: ["python3-poetry"],
    readVersion: pythonPackage("poetry"),
  },
  { name: "conda", candidates: ["conda", "mamba", "micromamba"], readVersion: condaPackage },
  { name: "npm", candidates: ["npm"], readVersion: nodePackage("npm") },
  { name: "yarn", candidates: ["yarn", "yarnpkg"], readVersion: nodePackage("yarn") },
  { name: "pnpm", candidates: ["pnpm"], readVersion: nodePackage("pnpm") },
  { name: "gem", candidates: ["gem"], packages: ["ruby-rubygems"], readVersion: rubygems },
  {
    name: "bundler",
    candidates: ["bundle"],
    packages: ["ruby-bundler"],
    readVersion: rubyGem("bundler"),
  },
  { name: "composer", candidates: ["composer"], readVersion: composer },
  { name: "cpan", candidates: ["cpanm", "cpan"], packages: ["cpanminus"] },
  { name: "luarocks", candidates: ["luarocks"] },
  { name: "mix", candidates: ["mix"], packages: ["elixir"], readVersion: elixir },
  { name: "maven", candidates: ["mvn"], readVersion: maven },
  // Debian's package has a version that differs from the program's.
  { name: "cargo", candidates: ["cargo"], packages: [] },
];

/** Programs in these directories come from the distribution's packages. */
const SYSTEM_BIN = /^\/(?:usr\/)?s?bin\//;

/** `dirs` are the directories of the search path (`SearchPath.dirs`). */
export function findPackageManagers(
  dirs: readonly string[],
  observer: FileObserver,
): PackageManager[] {
  const databaseVersion = packageDatabases();
  const found: PackageManager[] = [];
  for (const manager of MANAGERS) {
    const path = manager.candidates
      .flatMap((candidate) =>
        dirs
          .filter((dir) => observer.mayContain(dir, candidate))
          .map((dir) => `${dir}/${candidate}`),
      )
      .find((file) => isProgram(file, observer));
    if (path === undefined) continue;
    const realPath = realPathOf(path) ?? path;
    const prefix = realPath.slice(0, realPath.lastIndexOf("/")).replace(/\/bin$/, "");
    const packages = SYSTEM_BIN.test(path) ? (manager.packages ?? [manager.name]) : [];
    const version =
      manager.readVersion?.({ realPath, prefix, observer }) ?? firstOf(packages, databaseVersion);
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

/** Reads the version from the `dist-info` of a Python package, in the prefix's site-packages or in Debian's dist-packages. */
function pythonPackage(name: string): VersionReader {
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

/** Reads the `package.json` above a JavaScript program, if it belongs to that package: corepack has programs of the same names. */
function nodePackage(name: string): VersionReader {
  return ({ realPath, observer }) => {
    let dir = realPath;
    for (let up = 0; up < 3; up++) {
      dir = dir.slice(0, dir.lastIndexOf("/"));
      const text = observer.readText(`${dir}/package.json`);
      if (text === undefined) continue;
      if (field(text, "name") !== name) return undefined;
      return field(text, "version");
    }
    return undefined;
  };
}

/** A string field of a JSON text, which may be truncated. */
function field(json: string, key: string): string | undefined {
  return new RegExp(`"${key}"\\s*:\\s*"([^"]+)"`).exec(json)?.[1];
}

function rubygems({ prefix, observer }: Parameters<VersionReader>[0]): string | undefined {
  const ruby = `${prefix}/lib/ruby`;
  const versions = observer.list(ruby).filter((entry) => /^\d/.test(entry));
  const files = [
    ...observer.list(`${ruby}/site_ruby`).map((entry) => `${ruby}/site_ruby/${entry}/rubygems.rb`),
    `${ruby}/vendor_ruby/rubygems.rb`,
    ...versions.toSorted(newestFirst).map((entry) => `${ruby}/${entry}/rubygems.rb`),
  ];
  for (const file of files) {
    if (observer.observe(file).at !== "present") continue;
    const version = /^ = "(\d[^"]*)"/.exec(textAfter(file, "VERSION", 24) ?? "")?.[1];
    if (version !== undefined) return version;
  }
  return undefined;
}

function rubyGem(name: string): VersionReader {
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

function composer({ realPath }: Parameters<VersionReader>[0]): string | undefined {
  return /^\d+\.\d+\.\d+/.exec(textAfter(realPath, "const VERSION = '", 16) ?? "")?.[0];
}

function elixir({ prefix, observer }: Parameters<VersionReader>[0]): string | undefined {
  const texts = [prefix, `${prefix}/lib/elixir`].map((dir) => observer.readText(`${dir}/VERSION`));
  return texts.find((text) => /^\d/.test(text ?? ""))?.trim();
}

function maven({ prefix, observer }: Parameters<VersionReader>[0]): string | undefined {
  return observer
    .list(`${prefix}/lib`)
    .flatMap((entry) => /^maven-core-(\d+\.\d+\.[\w.-]+)\.jar$/.exec(entry)?.[1] ?? [])[0];
}

function condaPackage({ prefix, observer }: Parameters<VersionReader>[0]): string | undefined {
  return observer
    .list(`${prefix}/conda-meta`)
    .flatMap((entry) => /^conda-(\d[\w.]*)-.*\.json$/.exec(entry)?.[1] ?? [])[0];
}

function pacmanDatabase({ observer }: Parameters<VersionReader>[0]): string | undefined {
  return observer
    .list("/var/lib/pacman/local")
    .flatMap((entry) => /^pacman-(\d[\w.]*)-/.exec(entry)?.[1] ?? [])[0];
}

function nixStore({ realPath }: Parameters<VersionReader>[0]): string | undefined {
  return /^\/nix\/store\/[^/]*-nix-(\d[\w.]*)\//.exec(realPath)?.[1];
}

/** Whether the path is an executable file. Its directory must have been observed. */
function isProgram(path: string, observer: FileObserver): boolean {
  const entry = observer.observe(path, true);
  return entry.at === "present" && entry.stat.isFile() && mayExecute(path);
}
