/**
 * The software bill of materials of the binaries, as CycloneDX 1.6 JSON: every package in bun.lock that an app needs at run
 * time, Bun, and the C library that the static linker adds. The same lockfile yields the same bytes. (A1)
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The workspaces whose dependencies end up in a binary. */
const APPS = ["@fleet/agent", "@fleet/coordinator", "@fleet/tracker"];
const WORKSPACE_SCOPE = "@fleet/";

/** The parts of `bun.lock` that are used here. */
export interface Lockfile {
  readonly workspaces: Readonly<Record<string, LockedWorkspace>>;
  /** By installation path. A workspace has only the first element. */
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

interface LockedWorkspace {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

type LockedPackage = readonly [
  id: string,
  registry?: string,
  details?: { readonly dependencies?: Readonly<Record<string, string>> },
  integrity?: string,
];

/** Facts that are not in the lockfile. */
export interface SbomFacts {
  readonly version: string;
  readonly bunVersion: string;
  /** As `fleet-agent --version --json` prints it, such as "Debian GLIBC 2.36-9+deb12u14"; null for a dynamic build. */
  readonly libc: string | null;
  /** Returns the SPDX expression in a package's package.json, if there is one. */
  licenseOf(name: string, version: string): string | undefined;
}

interface Component {
  readonly type: "library" | "application";
  readonly "bom-ref": string;
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
  readonly licenses?: readonly { readonly expression: string }[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

/** Builds the document. Throws if the lockfile lacks a package that another one depends on. */
export function sbomOf(lock: Lockfile, facts: SbomFacts): object {
  const needed = neededPackages(lock);
  const components = [
    bunComponent(facts.bunVersion),
    ...libcComponents(facts.libc),
    ...[...needed.keys()].toSorted().map((key) => npmComponent(lock.packages[key]!, facts)),
  ];
  const direct = directDependencies(lock).map((name) => refOf(lock.packages[name]!));
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": "fleet",
        name: "fleet",
        version: facts.version,
        licenses: [{ expression: "MIT" }],
      },
    },
    components,
    dependencies: [
      { ref: "fleet", dependsOn: [...systemRefs(components), ...direct].toSorted() },
      ...[...needed].map(([key, dependencies]) => ({
        ref: refOf(lock.packages[key]!),
        dependsOn: dependencies.map((dependency) => refOf(lock.packages[dependency]!)).toSorted(),
      })),
    ].toSorted((a, b) => (a.ref < b.ref ? -1 : 1)),
  };
}

/** Returns the third-party packages that the apps and their workspace packages depend on directly. */
function directDependencies(lock: Lockfile): readonly string[] {
  const byName = new Map(Object.values(lock.workspaces).map((w) => [w.name, w]));
  const found = new Set<string>();
  const seen = new Set<string>();
  const visit = (workspace: string): void => {
    if (seen.has(workspace)) return;
    seen.add(workspace);
    for (const name of Object.keys(byName.get(workspace)?.dependencies ?? {})) {
      if (name.startsWith(WORKSPACE_SCOPE)) visit(name);
      else found.add(name);
    }
  };
  for (const app of APPS) visit(app);
  return [...found].toSorted();
}

/** Returns the keys of all needed packages, each with the keys of its own dependencies. */
function neededPackages(lock: Lockfile): ReadonlyMap<string, readonly string[]> {
  const needed = new Map<string, readonly string[]>();
  const visit = (key: string): void => {
    if (needed.has(key)) return;
    const names = Object.keys(lock.packages[key]?.[2]?.dependencies ?? {});
    const keys = names.map((name) => resolve(lock, key, name));
    needed.set(key, keys);
    for (const dependency of keys) visit(dependency);
  };
  for (const name of directDependencies(lock)) visit(resolve(lock, "", name));
  return needed;
}

/** Resolves a name like Node: nested below the dependent package first, then further up. */
function resolve(lock: Lockfile, from: string, name: string): string {
  for (let at = from; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
    if (lock.packages[`${at}/${name}`] !== undefined) return `${at}/${name}`;
  }
  if (lock.packages[name] === undefined)
    throw new Error(`bun.lock has no ${name}, which ${from || "a workspace"} depends on`);
  return name;
}

function splitId(id: string): { readonly name: string; readonly version: string } {
  const at = id.lastIndexOf("@");
  return { name: id.slice(0, at), version: id.slice(at + 1) };
}

function refOf([id]: LockedPackage): string {
  const { name, version } = splitId(id);
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

function npmComponent(locked: LockedPackage, facts: SbomFacts): Component {
  const { name, version } = splitId(locked[0]);
  const license = facts.licenseOf(name, version);
  const hash = /^sha512-(.+)$/.exec(locked[3] ?? "")?.[1];
  return {
    type: "library",
    "bom-ref": refOf(locked),
    name,
    version,
    purl: refOf(locked),
    ...(license === undefined ? {} : { licenses: [{ expression: license }] }),
    ...(hash === undefined
      ? {}
      : { hashes: [{ alg: "SHA-512", content: Buffer.from(hash, "base64").toString("hex") }] }),
  };
}

function bunComponent(version: string): Component {
  const purl = `pkg:github/oven-sh/bun@bun-v${version}`;
  const licenses = [{ expression: "MIT" }];
  return { type: "application", "bom-ref": purl, name: "bun", version, purl, licenses };
}

/** glibc, and GCC's unwinder, which it needs. See packages/static-elf/NOTICE. */
function libcComponents(libc: string | null): readonly Component[] {
  if (libc === null) return [];
  const [, vendor, version] = /^(\S+) GLIBC (\S+)$/.exec(libc) ?? [undefined, undefined, libc];
  const isDebian = vendor === "Debian";
  const purl = `pkg:deb/debian/glibc@${encodeURIComponent(version)}?arch=source`;
  return [
    {
      type: "library",
      "bom-ref": "glibc",
      name: "glibc",
      version,
      ...(isDebian ? { purl } : {}),
      licenses: [{ expression: "LGPL-2.1-or-later" }],
    },
    {
      type: "library",
      "bom-ref": "libgcc_s",
      name: "libgcc_s",
      licenses: [{ expression: "GPL-3.0-or-later WITH GCC-exception-3.1" }],
    },
  ];
}

function systemRefs(components: readonly Component[]): readonly string[] {
  return components.map((c) => c["bom-ref"]).filter((ref) => !ref.startsWith("pkg:npm/"));
}

/** Returns a lookup of licenses in the packages installed below `root`. */
export function installedLicenses(root: string): SbomFacts["licenseOf"] {
  return (name, version) => {
    const store = join(root, "node_modules/.bun");
    // A hash of the package's peer dependencies may follow the version.
    const id = `${name.replace("/", "+")}@${version}`;
    const dirs = [...new Bun.Glob(`${id}{,+*}`).scanSync({ cwd: store, onlyFiles: false })];
    for (const dir of dirs.toSorted()) {
      const path = join(store, dir, "node_modules", name, "package.json");
      if (!existsSync(path)) continue;
      const { license } = JSON.parse(readFileSync(path, "utf8")) as { license?: unknown };
      if (typeof license === "string") return license;
    }
    return undefined;
  };
}
