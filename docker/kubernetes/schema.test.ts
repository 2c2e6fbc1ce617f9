/** Checks the manifests against Kubernetes' API types, and our subset of kustomize against kubectl if it is installed. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/lib/root.ts";
import type { Manifest } from "./kustomize.ts";
import { copyKustomizations, KUSTOMIZATIONS, readKustomization } from "./pods.ts";

/** Older versions of kustomize produce other output. */
const KUSTOMIZE_MAJOR_MIN = 5;
const TSC_FLAGS =
  "--ignoreConfig --noEmit --strict --skipLibCheck --pretty false --target esnext --module preserve --moduleResolution bundler";

const dir = copyKustomizations();
// Inside the repository, so that tsc finds the types.
const types = mkdtempSync(join(root, "node_modules/.cache-kubernetes-"));
afterAll(() => {
  for (const path of [dir, types]) rmSync(path, { recursive: true });
});

const all = KUSTOMIZATIONS.map((name) => readKustomization(dir, name));

/** Returns the errors of tsc for `manifests` as typed objects. Unlike a validator, it rejects unknown keys. */
async function typeErrorsOf(manifests: readonly Manifest[]): Promise<string> {
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
      expect(await typeErrorsOf(manifests)).toBe("");
    });

  test("rejects an unknown key, a missing key and a value of the wrong type", async () => {
    const text = JSON.stringify(all[0]!.manifests.find(({ kind }) => kind === "StatefulSet"));
    for (const [from, to, problem] of [
      ['"replicas":', '"replica":', `'"replica"' does not exist`],
      ['"name":"coordinator","image"', '"image"', "Property '\"name\"' is missing"],
      ['"readOnlyRootFilesystem":true', '"readOnlyRootFilesystem":"yes"', "'string' is not"],
    ] as const) {
      expect(text).toContain(from);
      const broken = JSON.parse(text.replace(from, to)) as Manifest;
      expect(await typeErrorsOf([broken])).toContain(problem);
    }
  });
});

/** Returns why kubectl cannot be used; undefined if it can. */
function kubectlProblem(): string | undefined {
  if (Bun.which("kubectl") === null) return "kubectl is not installed";
  const { stdout } = Bun.spawnSync(["kubectl", "version", "--client"], { stderr: "ignore" });
  const version = /Kustomize Version: v(\d+)/.exec(stdout.toString())?.[1];
  return Number(version) >= KUSTOMIZE_MAJOR_MIN ? undefined : "this kubectl is too old";
}

const skipReason = kubectlProblem();
if (skipReason !== undefined) console.log(`skipped kubectl kustomize: ${skipReason}`);

describe("kubectl kustomize", () => {
  for (const { name, manifests } of all)
    test.skipIf(skipReason !== undefined)(`produces the same from ${name}`, () => {
      const { stdout, stderr } = Bun.spawnSync(["kubectl", "kustomize", join(dir, name)]);
      expect(stderr.toString()).toBe("");
      const made = Bun.YAML.parse(withoutHashes(stdout.toString())) as Manifest[];
      expect(byName(made)).toEqual(byName(manifests));
    });

  test.skipIf(skipReason !== undefined)("names the missing file if there are no tokens", () => {
    const { stderr, exitCode } = Bun.spawnSync([
      "kubectl",
      "kustomize",
      join(import.meta.dir, "base"),
    ]);
    if (exitCode === 0) return; // This working tree has tokens.
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
