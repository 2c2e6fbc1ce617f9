/** Checks that docker/Dockerfile, compose.yaml and package.json agree, and that no container has more rights than it needs. (H1) */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import rootPackage from "../package.json" with { type: "json" };
import { root } from "../scripts/lib/root.ts";
import { installedLicenses, type Lockfile, sbomOf } from "../scripts/lib/sbom.ts";

interface Service {
  readonly image: string;
  readonly user?: string;
  readonly network_mode?: string;
  readonly restart: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly mem_limit?: string;
  readonly pids_limit?: number;
  readonly logging?: { readonly options: Readonly<Record<string, string>> };
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes: readonly string[];
}

const dockerfile = readText("docker/Dockerfile");
const compose = Bun.YAML.parse(readText("compose.yaml")) as {
  readonly services: Readonly<Record<string, Service>>;
};
const services = Object.entries(compose.services);

function readText(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

function all(pattern: RegExp): readonly string[] {
  return [...dockerfile.matchAll(pattern)].map((match) => match[1]!);
}

describe("the images", () => {
  test("have the version of the repository", () => {
    const labels = all(/image\.version="([^"]+)"/g);
    expect(labels.length).toBeGreaterThan(1);
    expect([...new Set(labels)]).toEqual([rootPackage.version]);
    const named = services.map(([, { image }]) => /:-(fleet-.*)\}$/.exec(image)?.[1]);
    const ours = ["agent", "coordinator", "native"].map(
      (name) => `fleet-${name}:${rootPackage.version}`,
    );
    expect([...new Set(named.filter((name) => name !== undefined))].toSorted()).toEqual(ours);
  });

  test("are compiled by the Bun that the repository pins", () => {
    expect(all(/bun@([\d.]+)/g)).toEqual([rootPackage.devDependencies.bun]);
  });

  test("can be built without compiling by a builder that builds every stage above the target", () => {
    const stages = all(/^FROM .* AS (\S+)$/gm);
    for (const stage of stages.filter((name) => name.endsWith("-dist")))
      expect(stages.indexOf(stage)).toBeLessThan(stages.indexOf("build"));
  });
});

describe("the Compose stack", () => {
  test("restricts every container (H1)", () => {
    for (const [name, service] of services) {
      expect(service.read_only, name).toBeTrue();
      expect(service.cap_drop, name).toEqual(["ALL"]);
      expect(service.security_opt, name).toEqual(["no-new-privileges:true"]);
      expect(service.mem_limit, name).toMatch(/^\d+m$/);
      expect(service.pids_limit, name).toBeNumber();
      expect(Object.keys(service.logging?.options ?? {}), name).toEqual(["max-size", "max-file"]);
      const isRoot = service.user?.startsWith("0") === true;
      // Only a short-lived container without a network may run as root.
      if (isRoot) expect(service, name).toMatchObject({ network_mode: "none", restart: "no" });
      for (const port of service.ports ?? []) expect(port).toStartWith("127.0.0.1:");
    }
  });

  test("passes tokens only as files, and to nodes only the enrolment token (H5)", () => {
    for (const [name, { environment, volumes }] of services) {
      for (const [key, value] of Object.entries(environment ?? {}))
        if (key.includes("TOKEN")) expect(`${key}=${value}`).toMatch(/_FILE=\//);
      const sees = volumes.filter((volume) => volume.startsWith("secrets:"));
      expect([name, sees.length]).toEqual([
        name,
        ["secrets", "coordinator"].includes(name) ? 1 : 0,
      ]);
    }
  });

  test("has a node for each agent config, and no node can change its config or the agent (A1)", () => {
    const nodes = services.filter(
      ([, { environment }]) => environment?.["FLEET_NODE_ID"] !== undefined,
    );
    const configs = readdirSync(join(root, "docker/nodes")).map((file) =>
      file.replace(".yaml", ""),
    );
    expect(nodes.map(([name]) => name).toSorted()).toEqual(configs.toSorted());
    for (const [name, { environment, user, volumes }] of nodes) {
      expect(environment!["FLEET_NODE_ID"]).toBe(name);
      expect(user).toBe("65534:65534");
      expect(volumes).toContain("agent:/opt/fleet:ro");
      expect(volumes).toContain(`./docker/nodes/${name}.yaml:/etc/fleet/agent.yaml:ro`);
      const writable = volumes.filter((volume) => !volume.endsWith(":ro"));
      expect(writable).toEqual([`state-${name}:/state`]);
    }
  });
});

test("the bill of materials is valid CycloneDX", () => {
  const schema = (name: string): object =>
    JSON.parse(
      readText(`node_modules/@cyclonedx/cyclonedx-library/res/schema/${name}.SNAPSHOT.schema.json`),
    ) as object;
  const ajv = new Ajv({ strict: false, validateFormats: false });
  for (const name of ["spdx", "jsf-0.82"])
    ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  const isValid = ajv.compile(schema("bom-1.6"));
  const lock = Bun.JSONC.parse(readText("bun.lock")) as Lockfile;
  const sbom = sbomOf(lock, {
    version: rootPackage.version,
    bunVersion: rootPackage.devDependencies.bun,
    libc: "Debian GLIBC 2.36-9+deb12u14",
    licenseOf: installedLicenses(root),
  });
  isValid(sbom);
  expect(isValid.errors).toBeNull();
  expect(isValid({ ...sbom, components: [{ type: "binary", name: "bun" }] })).toBeFalse();
});
