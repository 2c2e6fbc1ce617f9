import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./root.ts";
import { installedLicenses, type Lockfile, type SbomFacts, sbomOf } from "./sbom.ts";

const FACTS: SbomFacts = {
  version: "1.2.3",
  bunVersion: "1.4.5",
  libc: "Debian GLIBC 2.36-9+deb12u14",
  licenseOf: (name) => (name === "left" ? "MIT" : undefined),
};

/** The agent depends on `left` through a workspace package. `left` has its own, nested `right`. Nothing depends on `mock`. */
const LOCK: Lockfile = {
  workspaces: {
    "": { name: "fleet" },
    "apps/agent": { name: "@fleet/agent", dependencies: { "@fleet/daemon": "workspace:*" } },
    "packages/daemon": { name: "@fleet/daemon", dependencies: { left: "1.0.0" } },
  },
  packages: {
    "@fleet/daemon": ["@fleet/daemon@workspace:packages/daemon"],
    left: ["left@1.0.0", "", { dependencies: { "@at/right": "^2" } }, "sha512-AAEC"],
    "left/@at/right": ["@at/right@2.0.0", "", {}, "sha512-AQ=="],
    "@at/right": ["@at/right@1.0.0", "", {}, "sha512-AQ=="],
    mock: ["mock@1.0.0", "", {}, "sha512-AQ=="],
  },
};

interface Sbom {
  readonly metadata: { readonly component: { readonly version: string } };
  readonly components: readonly {
    readonly "bom-ref": string;
    readonly name: string;
    readonly version?: string;
    readonly licenses?: readonly { readonly expression: string }[];
    readonly hashes?: readonly { readonly content: string }[];
  }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

function sbom(lock: Lockfile = LOCK, facts: SbomFacts = FACTS): Sbom {
  return sbomOf(lock, facts) as Sbom;
}

describe("the bill of materials", () => {
  test("lists what the apps need at run time, Bun and the C library, and nothing else", () => {
    const { components, metadata } = sbom();
    expect(metadata.component.version).toBe("1.2.3");
    expect(components.map(({ name, version }) => [name, version])).toEqual([
      ["bun", "1.4.5"],
      ["glibc", "2.36-9+deb12u14"],
      ["libgcc_s", undefined],
      ["left", "1.0.0"],
      ["@at/right", "2.0.0"],
    ]);
  });

  test("states the license and the archive's hash of each component, where known", () => {
    const [left, right] = sbom().components.slice(3);
    expect(left!.licenses).toEqual([{ expression: "MIT" }]);
    expect(left!.hashes!.map(({ content }) => content)).toEqual(["000102"]);
    expect(right).not.toHaveProperty("licenses");
  });

  test("states the dependencies", () => {
    const { dependencies } = sbom();
    expect(dependencies.find(({ ref }) => ref === "fleet")!.dependsOn).toContain(
      "pkg:npm/left@1.0.0",
    );
    expect(dependencies.find(({ ref }) => ref === "pkg:npm/left@1.0.0")!.dependsOn).toEqual([
      "pkg:npm/%40at/right@2.0.0",
    ]);
  });

  test("omits the C library for dynamic builds", () => {
    const names = sbom(LOCK, { ...FACTS, libc: null }).components.map(({ name }) => name);
    expect(names).toEqual(["bun", "left", "@at/right"]);
  });

  test("fails if the lockfile lacks a dependency", () => {
    const { left } = LOCK.packages;
    const packages = { left: left! };
    expect(() => sbom({ ...LOCK, packages })).toThrow(
      "bun.lock has no @at/right, which left depends on",
    );
  });

  test("states a license for every package of this repository, and refers only to listed components", () => {
    const lock = Bun.JSONC.parse(readFileSync(join(root, "bun.lock"), "utf8")) as Lockfile;
    const { components, dependencies } = sbom(lock, {
      ...FACTS,
      licenseOf: installedLicenses(root),
    });
    expect(components.length).toBeGreaterThan(15);
    expect(components.filter(({ licenses }) => licenses === undefined)).toEqual([]);
    const refs = components.map((component) => component["bom-ref"]);
    expect(new Set(refs).size).toBe(refs.length);
    for (const { dependsOn } of dependencies)
      expect(dependsOn.filter((ref) => !refs.includes(ref))).toEqual([]);
  });
});
