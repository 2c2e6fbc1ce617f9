/** The pods of the manifests, typed as far as the tests need. */
import { cpSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kustomize, type Manifest } from "./kustomize.ts";

/** The files that `fleet-coordinator secrets` creates. */
export const TOKENS = ["enroll_token", "operator_token", "push_token"] as const;

/** The kustomizations that a user applies. */
export const KUSTOMIZATIONS = ["base", "image-volume"] as const;

/** An environment variable of a container. */
export interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
}

/** A volume mount. */
export interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
}

/** A container. */
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly env?: readonly Variable[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string>>;
    readonly limits?: Readonly<Record<string, string>>;
  };
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly volumeMounts?: readonly Mount[];
  readonly [probe: `${string}Probe`]:
    | { readonly httpGet: { readonly path: string; readonly port: string } }
    | undefined;
}

type Named = { readonly name: string };

/** A volume and the source of its files. */
export interface Volume extends Named {
  readonly configMap?: Named;
  readonly secret?: { readonly secretName: string; readonly defaultMode: number };
  readonly projected?: {
    readonly defaultMode: number;
    readonly sources: readonly { readonly secret: Named }[];
  };
  readonly emptyDir?: { readonly sizeLimit?: string };
  readonly image?: { readonly reference: string };
}

/** A pod's specification. */
export interface PodSpec {
  readonly [key: string]: unknown;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly Volume[];
}

/** An object that runs pods. */
export interface Workload {
  readonly kind: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly selector: Readonly<Record<string, string>>;
  readonly pod: PodSpec;
  /** The names of its volume claims. */
  readonly claims: readonly string[];
}

/** Copies the kustomizations and calls `makeTokens` with the directory for the tokens. The caller removes the copy. */
export function copyKustomizations(makeTokens: (dir: string) => void = writeTokens): string {
  const dir = mkdtempSync(join(tmpdir(), "fleet-kubernetes-"));
  for (const name of KUSTOMIZATIONS)
    cpSync(join(import.meta.dir, name), join(dir, name), {
      recursive: true,
      // Skip real tokens in this working tree.
      filter: (path) => !TOKENS.some((token) => path.endsWith(`/${token}`)),
    });
  makeTokens(join(dir, "base/secrets"));
  return dir;
}

function writeTokens(dir: string): void {
  for (const token of TOKENS) writeFileSync(join(dir, token), `${token}-of-the-tests\n`);
}

/** Returns the workloads among `manifests`. */
export function workloadsOf(manifests: readonly Manifest[]): Workload[] {
  return manifests.flatMap((manifest) => {
    const spec = manifest["spec"] as
      | {
          readonly selector: { readonly matchLabels: Workload["labels"] };
          readonly template?: {
            readonly metadata: { readonly labels: Workload["labels"] };
            readonly spec: PodSpec;
          };
          readonly volumeClaimTemplates?: readonly { readonly metadata: Named }[];
        }
      | undefined;
    if (spec?.template === undefined) return [];
    return [
      {
        kind: manifest.kind,
        name: manifest.metadata.name,
        labels: spec.template.metadata.labels,
        selector: spec.selector.matchLabels,
        pod: spec.template.spec,
        claims: (spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name),
      },
    ];
  });
}

/** Returns the containers of a pod in the order of their start. */
export function containersOf(pod: PodSpec): Container[] {
  return [...(pod.initContainers ?? []), ...pod.containers];
}

/** Reads the kustomization `name` in `dir`, with its workloads. */
export function readKustomization(dir: string, name: string) {
  const { manifests, files } = kustomize(join(dir, name));
  return { name, manifests, files, workloads: workloadsOf(manifests) };
}

/** Returns the data of the ConfigMap or Secret `name`. */
export function dataOf(
  manifests: readonly Manifest[],
  kind: "ConfigMap" | "Secret",
  name: string,
): Readonly<Record<string, string>> {
  const found = manifests.find((m) => m.kind === kind && m.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found["data"] as Record<string, string>;
}

/** Converts a Kubernetes quantity with a binary suffix, such as `64Mi`, to bytes. */
export function bytesOf(quantity: string): number {
  const match = /^(\d+)(Ki|Mi|Gi)$/.exec(quantity);
  if (match === null) throw new Error(`${quantity}: not supported`);
  return Number(match[1]) * 1024 ** (["Ki", "Mi", "Gi"].indexOf(match[2]!) + 1);
}
