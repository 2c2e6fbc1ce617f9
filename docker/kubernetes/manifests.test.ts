/** Checks that the manifests agree with each other, with the images and with their security level. Needs no cluster. */
import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { parseBytes } from "../../packages/daemon/src/index.ts";
import { root } from "../../scripts/lib/root.ts";
import { type Manifest, kustomize } from "./kustomize.ts";
import {
  bytesOf,
  containersOf,
  copyKustomizations,
  dataOf,
  KUSTOMIZATIONS,
  readKustomization,
  TOKENS,
  type Volume,
  type Workload,
} from "./pods.ts";

/** The user of each image, and the verb for its entrypoint. A stock image gets a command instead. */
const IMAGES: Readonly<Record<string, { readonly uid: number; readonly verb?: string }>> = {
  "fleet-coordinator": { uid: 65_532, verb: "serve" },
  "fleet-agent": { uid: 65_534, verb: "install" },
  python: { uid: 65_534 },
};
const AGENT = "/opt/fleet/fleet-agent";
/** The coordinator's stop time is fixed; the agent's is its config's, or 8 s by default. */
const COORDINATOR_STOP_S = 15;
const AGENT_STOP_S = 8;
const STOP_SPARE_S = 5;
/** Volume types that the restricted level allows. https://kubernetes.io/docs/concepts/security/pod-security-standards/ */
const VOLUME_KINDS = ["configMap", "secret", "projected", "emptyDir", "image"];

interface NetworkPolicySpec {
  readonly podSelector: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly policyTypes: readonly string[];
  readonly ingress?: readonly Rule[];
  readonly egress?: readonly Rule[];
}
interface Rule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports: readonly { readonly port: number; readonly protocol: string }[];
}
interface Peer {
  readonly podSelector?: { readonly matchLabels: Readonly<Record<string, string>> };
  readonly namespaceSelector?: { readonly matchLabels: Readonly<Record<string, string>> };
}

const dir = copyKustomizations();
afterAll(() => rmSync(dir, { recursive: true }));

function specOf(manifests: readonly Manifest[], kind: string, name: string): unknown {
  const found = manifests.find((m) => m.kind === kind && m.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found["spec"];
}

function imageName(image: string): string {
  return image.split(":")[0]!;
}

function filesIn(below: string): string[] {
  return readdirSync(below, { recursive: true, encoding: "utf8" })
    .map((name) => join(below, name))
    .filter((path) => statSync(path).isFile());
}

/** Returns the names of the files in a volume; undefined if they are known only at run time. */
function keysOf(volume: Volume, manifests: readonly Manifest[]): string[] | undefined {
  const { configMap, secret, projected, image } = volume;
  if (configMap !== undefined) return Object.keys(dataOf(manifests, "ConfigMap", configMap.name));
  const secrets = projected?.sources.map((source) => source.secret.name);
  const names = secrets ?? (secret === undefined ? undefined : [secret.secretName]);
  if (names !== undefined)
    return names.flatMap((name) => Object.keys(dataOf(manifests, "Secret", name)));
  return image === undefined ? undefined : ["fleet-agent"];
}

for (const name of KUSTOMIZATIONS) {
  const { manifests, workloads } = readKustomization(dir, name);
  const nodes = workloads.filter(({ labels }) => labels["app.kubernetes.io/component"] === "node");
  const coordinator = workloads.find((workload) => workload.name === "coordinator")!;

  describe(`${name} (H9)`, () => {
    test("has a coordinator and two kinds of nodes", () => {
      expect(workloads.map((w) => `${w.kind} ${w.name}`)).toEqual([
        "StatefulSet coordinator",
        "Deployment radar",
        "DaemonSet mast",
      ]);
      expect(nodes.map((w) => w.name)).toEqual(["radar", "mast"]);
    });

    for (const workload of workloads) {
      describe(workload.name, () => {
        testSecurity(workload);
        testMounts(workload, manifests);
      });
    }

    test("each selector matches its own pods and no others", () => {
      for (const { name: own, selector } of workloads)
        expect(
          workloads.filter(({ labels }) => matches(selector, labels)).map((w) => w.name),
        ).toEqual([own]);
    });

    test("the Service routes to the coordinator's ports, ready or not", () => {
      const service = specOf(manifests, "Service", "coordinator") as {
        selector: Record<string, string>;
        publishNotReadyAddresses: boolean;
        ports: { name: string; port: number; targetPort: string }[];
      };
      expect(
        workloads.filter(({ labels }) => matches(service.selector, labels)).map((w) => w.name),
      ).toEqual(["coordinator"]);
      expect(service.publishNotReadyAddresses).toBe(true);
      const ports = coordinator.pod.containers[0]!.ports!;
      expect(ports).toEqual([
        { name: "http", containerPort: 7700 },
        { name: "frames", containerPort: 30_050 },
      ]);
      expect(service.ports).toEqual(
        // The coordinator advertises the frame port it listens on, so the Service must not translate ports.
        ports.map((p) => ({ name: p.name, port: p.containerPort, targetPort: p.name })),
      );
      for (const { pod } of nodes)
        expect(pod.containers[0]!.env).toContainEqual({
          name: "FLEET_COORDINATOR_URL",
          value: "http://coordinator:7700",
        });
    });

    test("probes use paths that the coordinator serves, and nodes have no probes", () => {
      const [container] = coordinator.pod.containers;
      expect(container!.startupProbe?.httpGet).toEqual({ path: "/healthz", port: "http" });
      expect(container!.livenessProbe?.httpGet).toEqual({ path: "/healthz", port: "http" });
      expect(container!.readinessProbe?.httpGet).toEqual({ path: "/readyz", port: "http" });
      for (const node of nodes)
        for (const { startupProbe, livenessProbe, readinessProbe } of containersOf(node.pod))
          expect([startupProbe, livenessProbe, readinessProbe]).toEqual([
            undefined,
            undefined,
            undefined,
          ]);
    });

    test("the grace period allows an orderly stop", () => {
      const grace = (workload: Workload): number => workload.pod.terminationGracePeriodSeconds;
      expect(grace(coordinator)).toBeGreaterThanOrEqual(COORDINATOR_STOP_S + STOP_SPARE_S);
      for (const node of nodes) {
        const config = agentConfigOf(node, manifests);
        expect(config.stop_timeout).toBeUndefined();
        expect(grace(node)).toBeGreaterThanOrEqual(AGENT_STOP_S + STOP_SPARE_S);
      }
    });

    test("a node's memory holds a full spool, and the coordinator's volume holds its tracks", () => {
      for (const node of nodes) {
        const spool = parseBytes(agentConfigOf(node, manifests).spool.bytes_max)!;
        const limit = bytesOf(node.pod.containers[0]!.resources!.limits!["memory"]!);
        // The agent and a Python sensor need 110 MiB besides the spool.
        expect(limit - spool).toBeGreaterThanOrEqual(110 * 1024 ** 2);
      }
      const config = Bun.YAML.parse(
        dataOf(manifests, "ConfigMap", "coordinator")["coordinator.yaml"]!,
      ) as { output: { total_bytes_max: string } };
      const { volumeClaimTemplates } = specOf(manifests, "StatefulSet", "coordinator") as {
        volumeClaimTemplates: { spec: { resources: { requests: { storage: string } } } }[];
      };
      expect(parseBytes(config.output.total_bytes_max)!).toBeLessThan(
        bytesOf(volumeClaimTemplates[0]!.spec.resources.requests.storage),
      );
    });

    test("the network policies let nodes reach only the coordinator and DNS", () => {
      testPolicies(manifests, coordinator, nodes);
    });

    test("only the coordinator sees the operator token", () => {
      for (const node of nodes) {
        const seen = (node.pod.volumes ?? []).flatMap((v) =>
          v.secret === undefined && v.projected === undefined ? [] : keysOf(v, manifests)!,
        );
        expect(seen).toEqual(["enroll_token"]);
      }
    });
  });
}

function agentConfigOf(node: Workload, manifests: readonly Manifest[]) {
  const { name } = node.pod.volumes!.find((v) => v.name === "config")!.configMap!;
  return Bun.YAML.parse(dataOf(manifests, "ConfigMap", name)["agent.yaml"]!) as {
    readonly stop_timeout?: string;
    readonly spool: { readonly bytes_max: string };
  };
}

function matches(
  selector: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

function testSecurity({ pod }: Workload): void {
  test("complies with the restricted level: no root, no privileges, and nothing writable but its volumes", () => {
    const uid = IMAGES[imageName(pod.containers[0]!.image)]!.uid;
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: uid,
      runAsGroup: uid,
      fsGroup: uid,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(pod["automountServiceAccountToken"]).toBe(false);
    expect(pod["enableServiceLinks"]).toBe(false);
    for (const key of ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"])
      expect(pod[key]).toBeUndefined();
    for (const container of containersOf(pod)) {
      // Nothing else, because a container's own user or capabilities would override the pod's.
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      expect(container.resources?.requests).toContainAllKeys(["cpu", "memory"]);
      expect(container.resources?.limits).toContainAllKeys(["memory"]);
      expect(bytesOf(container.resources!.limits!["memory"]!)).toBeGreaterThanOrEqual(
        bytesOf(container.resources!.requests!["memory"]!),
      );
    }
    for (const volume of pod.volumes ?? [])
      expect(VOLUME_KINDS).toEqual(
        expect.arrayContaining(Object.keys(volume).filter((key) => key !== "name")) as string[],
      );
  });

  test("runs a program that its image contains", () => {
    for (const { image, command, args } of containersOf(pod)) {
      const { verb } = IMAGES[imageName(image)]!;
      if (verb === undefined) expect(command!.at(-1)).toEndWith(AGENT);
      else {
        expect(command).toBeUndefined();
        expect(args![0]).toBe(verb);
      }
    }
  });
}

function testMounts({ pod, claims }: Workload, manifests: readonly Manifest[]): void {
  test("mounts all its volumes, and they contain the files it names", () => {
    const volumes = new Map((pod.volumes ?? []).map((volume) => [volume.name, volume]));
    const mounted = containersOf(pod).flatMap(({ volumeMounts }) => volumeMounts ?? []);
    expect(new Set(mounted.map((mount) => mount.name))).toEqual(
      new Set([...volumes.keys(), ...claims]),
    );
    for (const container of containersOf(pod)) {
      for (const word of [
        ...(container.args ?? []),
        ...(container.env ?? []).flatMap(({ value }) => value ?? []),
        ...(container.workingDir === undefined ? [] : [container.workingDir]),
        ...(container.command ?? []).filter((part) => part === AGENT),
      ]) {
        if (!word.startsWith("/")) continue;
        const mount = container.volumeMounts!.find(
          ({ mountPath }) => word === mountPath || word.startsWith(`${mountPath}/`),
        );
        expect(mount, `${container.name}: ${word} is on no volume`).toBeDefined();
        const volume = volumes.get(mount!.name);
        const keys = volume === undefined ? undefined : keysOf(volume, manifests);
        if (keys !== undefined && word !== mount!.mountPath)
          expect(keys).toContain(relative(mount!.mountPath, word));
      }
    }
  });

  test("shows secrets only to its group, and mounts everything but its state read-only", () => {
    for (const { secret, projected } of pod.volumes ?? []) {
      const mode = secret?.defaultMode ?? projected?.defaultMode;
      if (mode !== undefined) expect(mode).toBe(0o440);
    }
    const [main] = pod.containers;
    const writable = main!.volumeMounts!.filter((m) => m.readOnly !== true).map((m) => m.name);
    expect(writable).toEqual([claims[0] ?? "state"]);
  });
}

function testPolicies(
  manifests: readonly Manifest[],
  coordinator: Workload,
  nodes: readonly Workload[],
): void {
  const policy = (of: string) => specOf(manifests, "NetworkPolicy", of) as NetworkPolicySpec;
  expect(policy("default-deny")).toEqual({ podSelector: {}, policyTypes: ["Ingress", "Egress"] });
  const tcp = coordinator.pod.containers[0]!.ports!.map((p) => ({
    port: p.containerPort,
    protocol: "TCP",
  }));
  const into = policy("coordinator");
  expect(matches(into.podSelector.matchLabels!, coordinator.labels)).toBe(true);
  expect(into.ingress).toEqual([{ from: [expect.anything() as Peer], ports: tcp }]);
  const from = into.ingress![0]!.from![0]!.podSelector!.matchLabels;
  expect(into.egress).toBeUndefined();
  const out = policy("node");
  expect(out.ingress).toBeUndefined();
  for (const { labels } of nodes) {
    expect(matches(from, labels)).toBe(true);
    expect(matches(out.podSelector.matchLabels!, labels)).toBe(true);
  }
  const [calls, names, ...more] = out.egress!;
  expect(more).toEqual([]);
  expect(calls!.ports).toEqual(tcp);
  expect(matches(calls!.to![0]!.podSelector!.matchLabels, coordinator.labels)).toBe(true);
  expect(matches(from, coordinator.labels)).toBe(false);
  expect(names!.ports.map((p) => p.port)).toEqual([53, 53]);
}

describe("the kustomizations", () => {
  test("use every file in their directories", () => {
    const used = new Set(KUSTOMIZATIONS.flatMap((name) => kustomize(join(dir, name)).files));
    const there = filesIn(dir).filter((path) => !path.endsWith("/.gitignore"));
    expect(there.toSorted()).toEqual([...used].toSorted());
  });

  test("keep tokens out of git", () => {
    const secrets = join(import.meta.dir, "base/secrets");
    const git = (...args: string[]): string =>
      Bun.spawnSync(["git", ...args], { cwd: secrets }).stdout.toString();
    expect(git("ls-files").trim()).toBe(".gitignore");
    expect(git("check-ignore", ...TOKENS).trim()).toBe(TOKENS.join("\n"));
  });

  test("expect the users and entrypoints that the Dockerfile sets", () => {
    const dockerfile = readFileSync(join(import.meta.dir, "../Dockerfile"), "utf8");
    for (const [name, path] of [
      ["fleet-agent", "/fleet-agent"],
      ["fleet-coordinator", "/usr/bin/fleet-coordinator"],
    ] as const) {
      const stage = dockerfile
        .split(/^FROM /m)
        .find((text) => text.includes(`\nENTRYPOINT ["${path}"]\n`));
      const { uid } = IMAGES[name]!;
      expect(stage).toContain(`\nUSER ${uid}:${uid}\n`);
    }
  });

  test("name images of this version, for volumes and containers alike", async () => {
    const { version } = (await Bun.file(join(root, "package.json")).json()) as { version: string };
    const ours = new Set(
      KUSTOMIZATIONS.flatMap((name) => readKustomization(dir, name).workloads).flatMap(
        ({ pod }) => [
          ...containersOf(pod).map(({ image }) => image),
          ...(pod.volumes ?? []).flatMap(({ image }) => image?.reference ?? []),
        ],
      ),
    );
    expect([...ours].filter((image) => image.startsWith("fleet-")).toSorted()).toEqual([
      `fleet-agent:${version}`,
      `fleet-coordinator:${version}`,
    ]);
  });

  test("differ only in how the agent gets into the pod (A3)", () => {
    const [copied, mounted] = KUSTOMIZATIONS.map((name) => readKustomization(dir, name));
    for (const [i, { pod }] of copied!.workloads.entries()) {
      const other = mounted!.workloads[i]!.pod;
      expect(other.containers).toEqual(pod.containers);
      expect(other.initContainers).toBeUndefined();
      const rest = (volumes: PodVolumes): PodVolumes => volumes?.filter((v) => v.name !== "agent");
      expect(rest(other.volumes)).toEqual(rest(pod.volumes));
    }
  });
});

type PodVolumes = Workload["pod"]["volumes"];
