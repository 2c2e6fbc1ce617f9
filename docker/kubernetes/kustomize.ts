/**
 * A subset of `kubectl kustomize` for the tests: resources, namespace, images, generators from files, and JSON patches.
 * Generated names get no hash. Throws for keys and files it does not support.
 */
import { readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/** A Kubernetes object. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [key: string]: unknown;
}

interface Generator {
  readonly name: string;
  readonly files: readonly string[];
}

interface Patch {
  readonly path: string;
  readonly target: { readonly kind: string; readonly name: string };
}

interface Kustomization {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly resources: readonly string[];
  readonly images?: readonly { readonly name: string; readonly newTag: string }[];
  readonly configMapGenerator?: readonly Generator[];
  readonly secretGenerator?: readonly Generator[];
  readonly patches?: readonly Patch[];
}

type PatchStep =
  | { readonly op: "remove"; readonly path: string }
  | { readonly op: "replace" | "test"; readonly path: string; readonly value: unknown };

const KEYS: readonly string[] = [
  "apiVersion",
  "kind",
  "namespace",
  "resources",
  "images",
  "configMapGenerator",
  "secretGenerator",
  "patches",
];
const WITHOUT_NAMESPACE = ["Namespace"];

/** Returns the objects of the kustomization in `dir`, and the files it consists of. */
export function kustomize(dir: string): { manifests: Manifest[]; files: string[] } {
  const path = join(dir, "kustomization.yaml");
  const kustomization = Bun.YAML.parse(readFileSync(path, "utf8")) as Kustomization;
  const unknown = Object.keys(kustomization).filter((key) => !KEYS.includes(key));
  if (unknown.length > 0) throw new Error(`${path}: ${unknown.join(", ")}: not supported`);
  const files = [path];
  const manifests: Manifest[] = [];
  for (const resource of kustomization.resources) {
    const from = join(dir, resource);
    if (statSync(from).isDirectory()) {
      const below = kustomize(from);
      manifests.push(...below.manifests);
      files.push(...below.files);
    } else {
      manifests.push(...readManifests(from));
      files.push(from);
    }
  }
  for (const { kind, key } of [
    { kind: "ConfigMap", key: "configMapGenerator" },
    { kind: "Secret", key: "secretGenerator" },
  ] as const)
    for (const generator of kustomization[key] ?? [])
      manifests.push(generate(kind, generator, dir, files));
  for (const { path: file, target } of kustomization.patches ?? []) {
    const steps = Bun.YAML.parse(readFileSync(join(dir, file), "utf8")) as readonly PatchStep[];
    const found = manifests.filter(
      ({ kind, metadata }) => kind === target.kind && metadata.name === target.name,
    );
    if (found.length !== 1)
      throw new Error(
        `${path}: found ${found.length} objects ${target.name} to patch instead of one`,
      );
    for (const step of steps) patch(found[0]!, step);
    if (!files.includes(join(dir, file))) files.push(join(dir, file));
  }
  const { namespace, images } = kustomization;
  return {
    files,
    manifests: manifests.map((manifest) =>
      addTags(addNamespace(manifest, namespace), images ?? []),
    ),
  };
}

function readManifests(path: string): Manifest[] {
  const parsed: unknown = Bun.YAML.parse(readFileSync(path, "utf8"));
  return (Array.isArray(parsed) ? parsed : [parsed]) as Manifest[];
}

/** Generates a ConfigMap or Secret. Each entry of `files` is a path or `key=path`. */
function generate(kind: string, { name, files }: Generator, dir: string, read: string[]): Manifest {
  const data: Record<string, string> = {};
  for (const entry of files) {
    const equals = entry.indexOf("=");
    const path = join(dir, entry.slice(equals + 1));
    const text = readFileSync(path, "utf8");
    data[equals < 0 ? basename(path) : entry.slice(0, equals)] =
      kind === "Secret" ? Buffer.from(text).toString("base64") : text;
    read.push(path);
  }
  const type = kind === "Secret" ? { type: "Opaque" } : {};
  return { apiVersion: "v1", kind, metadata: { name }, data, ...type };
}

function patch(manifest: Manifest, step: PatchStep): void {
  const keys = step.path.split("/").slice(1);
  const last = keys.pop()!;
  let parent: unknown = manifest;
  for (const key of keys) parent = (parent as Record<string, unknown> | undefined)?.[key];
  const holder = parent as Record<string, unknown> | undefined;
  if (holder?.[last] === undefined) throw new Error(`${step.path}: no such value`);
  if (step.op === "remove") delete holder[last];
  else if (step.op === "replace") holder[last] = step.value;
  else if (!Bun.deepEquals(holder[last], step.value))
    throw new Error(`${step.path}: the value differs`);
}

function addNamespace(manifest: Manifest, namespace: string | undefined): Manifest {
  if (namespace === undefined || WITHOUT_NAMESPACE.includes(manifest.kind)) return manifest;
  return { ...manifest, metadata: { ...manifest.metadata, namespace } };
}

/** Adds tags to the images of containers, but not to those of volumes. */
function addTags(manifest: Manifest, images: NonNullable<Kustomization["images"]>): Manifest {
  return JSON.parse(JSON.stringify(manifest), (key, value: unknown) => {
    if (key !== "image" || typeof value !== "string") return value;
    const image = images.find(({ name }) => name === value);
    return image === undefined ? value : `${value}:${image.newTag}`;
  }) as Manifest;
}
