/** The manifests are what Kubernetes' own API description says, and what kubectl makes of the kustomizations is what we tested. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/lib/root.ts";
import type { Manifest } from "./kustomize.ts";
import { copyKustomizations, KUSTOMIZATIONS, readKustomization } from "./pods.ts";

/** The first kubectl whose kustomize is of today's form. */
const KUSTOMIZE_MAJOR_MIN = 5;
const TSC_FLAGS =
  "--ignoreConfig --noEmit --strict --skipLibCheck --pretty false --target esnext --module preserve --moduleResolution bundler";

const dir = copyKustomizations();
// Below the project, so that the types are found.
const types = mkdtempSync(join(root, "node_modules/.cache-kubernetes-"));
afterAll(() => {
  for (const path of [dir, types]) rmSync(path, { recursive: true });
});

const all = KUSTOMIZATIONS.map((name) => readKustomization(dir, name));

/** What tsc says of `manifests` as objects of their types: unlike a validator, it knows every key. */
async function complaintsOf(manifests: readonly Manifest[]): Promise<string> {
  const imports = new Set<string>();
  const constants = manifests.map((manifest, i) => {
    const type = `I${manifest.kind}`;
    imports.add(`import type { ${type} } from "kubernetes-models/${manifest.apiVersion}";`);
    return `export const m${i}: ${type} = ${JSON.stringify(manifest, undefined, 1)};`;
  });
  const path = join(types, "manifests.ts");
  writeFileSync(path, [...imports, ...constants].join("\n"));
  const tsc = Bun.spawn(
    [
      process.execPath,
      join(root, "node_modules/typescript/bin/tsc"),
      ...TSC_FLAGS.split(" "),
      path,
    ],
    { cwd: types, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  );
  const [stdout, stderr] = await Promise.all([tsc.stdout.text(), tsc.stderr.text(), tsc.exited]);
  return `${stdout}${stderr}`;
}

describe("Kubernetes' API", () => {
  for (const { name, manifests } of all)
    test(`has every key of ${name}, with a value of that type (H9)`, async () => {
      expect(await complaintsOf(manifests)).toBe("");
    });

  test("would not have a key that it doesn't know, nor miss one that it needs", async () => {
    const text = JSON.stringify(all[0]!.manifests.find(({ kind }) => kind === "StatefulSet"));
    for (const [from, to, complaint] of [
      ['"replicas":', '"replica":', `'"replica"' does not exist`],
      ['"name":"coordinator","image"', '"image"', "Property '\"name\"' is missing"],
      ['"readOnlyRootFilesystem":true', '"readOnlyRootFilesystem":"yes"', "'string' is not"],
    ] as const) {
      expect(text).toContain(from);
      const broken = JSON.parse(text.replace(from, to)) as Manifest;
      expect(await complaintsOf([broken])).toContain(complaint);
    }
  });
});

/** Why kubectl isn't asked, if it isn't. */
function lacksKubectl(): string | undefined {
  if (Bun.which("kubectl") === null) return "no kubectl here";
  const { stdout } = Bun.spawnSync(["kubectl", "version", "--client"], { stderr: "ignore" });
  const version = /Kustomize Version: v(\d+)/.exec(stdout.toString())?.[1];
  return Number(version) >= KUSTOMIZE_MAJOR_MIN ? undefined : "this kubectl is too old";
}

const lacking = lacksKubectl();
if (lacking !== undefined) console.log(`${lacking}: what it makes of the manifests is not tried`);

describe("kubectl kustomize", () => {
  for (const { name, manifests } of all)
    test.skipIf(lacking !== undefined)(`makes the same of ${name}`, () => {
      const { stdout, stderr } = Bun.spawnSync(["kubectl", "kustomize", join(dir, name)]);
      expect(stderr.toString()).toBe("");
      const made = Bun.YAML.parse(withoutHashes(stdout.toString())) as Manifest[];
      expect(byName(made)).toEqual(byName(manifests));
    });

  test.skipIf(lacking !== undefined)("says which file is missing where there are no tokens", () => {
    const { stderr, exitCode } = Bun.spawnSync([
      "kubectl",
      "kustomize",
      join(import.meta.dir, "base"),
    ]);
    if (exitCode === 0) return; // Somebody uses this working tree.
    expect(stderr.toString()).toContain("secrets/enroll_token");
  });
});

function withoutHashes(yaml: string): string {
  return yaml.replaceAll(
    /\b(coordinator|radar|mast|sensors|enroll|operator)-[a-z0-9]{10}\b/g,
    "$1",
  );
}

function byName(manifests: readonly Manifest[]): Map<string, Manifest> {
  return new Map(manifests.map((m) => [`${m.kind} ${m.metadata.name}`, m]));
}
