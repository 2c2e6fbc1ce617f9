/**
 * Runs the pods without a cluster: the commands, variables and files of the manifests, with the built binaries as images and
 * directories as volumes. Does not test the isolation of containers.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../apps/coordinator/test/rig/fleet.ts";
import { ApiClient } from "../../packages/api-client/src/index.ts";
import { nodesApi, type NodeView, trackersApi } from "../../packages/protocol/src/index.ts";
import { root } from "../../scripts/lib/root.ts";
import type { Manifest } from "./kustomize.ts";
import {
  type Container,
  copyKustomizations,
  dataOf,
  readKustomization,
  type Workload,
} from "./pods.ts";

const DIST = join(root, "dist");
const COORDINATOR = "fleet-coordinator";
const ENTRYPOINTS: Readonly<Record<string, string>> = {
  "fleet-agent": join(DIST, "fleet-agent"),
  [COORDINATOR]: join(DIST, COORDINATOR),
};
/** Values of the downward API. */
const FIELDS: Readonly<Record<string, string>> = {
  "metadata.name": "radar-7c9d8b5f64-x2k4q",
  "spec.nodeName": "ip-10-0-1-23.eu-west-1.compute.internal",
};
const NODES = [
  { workload: "radar", id: "radar-7c9d8b5f64-x2k4q", nodeClass: "ephemeral" },
  { workload: "mast", id: "mast-ip-10-0-1-23-eu-west-1-compute-internal", nodeClass: "persistent" },
];
const STOP_MS = 12_000;

const kustomization = copyKustomizations((secrets) => {
  const { exitCode, stderr } = Bun.spawnSync([ENTRYPOINTS[COORDINATOR]!, "secrets", secrets]);
  if (exitCode !== 0) throw new Error(stderr.toString());
});
const { manifests, workloads } = readKustomization(kustomization, "base");
const dir = mkdtempSync(join(tmpdir(), "fleet-rehearsal-"));
const started: Bun.Subprocess<"ignore", "ignore", "pipe">[] = [];
const logs = new Map<string, string>();
let url = "";

/** A pod whose volumes are directories with the same files. */
class RehearsedPod {
  readonly #workload: Workload;
  readonly #dir: string;

  constructor(workload: Workload) {
    this.#workload = workload;
    this.#dir = join(dir, workload.name);
    for (const volume of [...(workload.pod.volumes ?? []), { name: "data" }]) {
      mkdirSync(join(this.#dir, volume.name), { recursive: true });
      for (const [key, text] of filesOf(volume, manifests))
        writeFileSync(join(this.#dir, volume.name, key), text);
    }
  }

  container(name: string): Container {
    const { initContainers = [], containers } = this.#workload.pod;
    return [...initContainers, ...containers].find((container) => container.name === name)!;
  }

  /** Replaces mount paths in `text` by the volumes' directories. */
  localise(container: Container, text: string): string {
    let path = text;
    for (const { mountPath, name } of container.volumeMounts ?? [])
      path = path.replaceAll(
        new RegExp(`(?<![\\w./])${mountPath}(?=/|$)`, "g"),
        join(this.#dir, name),
      );
    return path;
  }

  /** Starts a container. `more` follows its own arguments; `env` overrides its own variables. */
  start(container: Container, more: readonly string[], env: Record<string, string>) {
    const entrypoint = ENTRYPOINTS[container.image.split(":")[0]!];
    const command = container.command ?? [entrypoint!];
    const words = [...command, ...(container.args ?? [])].map((word) =>
      this.localise(container, word),
    );
    const variables: Record<string, string> = {};
    for (const { name, value, valueFrom } of container.env ?? [])
      variables[name] = this.localise(container, value ?? FIELDS[valueFrom!.fieldRef.fieldPath]!);
    const child = Bun.spawn([...words, ...more], {
      cwd: this.localise(container, container.workingDir ?? this.#dir),
      env: { PATH: process.env["PATH"] ?? "", ...variables, ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    started.push(child);
    void collect(this.#workload.name, child.stderr);
    return child;
  }
}

async function collect(name: string, stream: ReadableStream<Uint8Array>): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream)
    logs.set(name, (logs.get(name) ?? "") + decoder.decode(chunk, { stream: true }));
}

type Volume = NonNullable<Workload["pod"]["volumes"]>[number];

function filesOf(volume: Volume, from: readonly Manifest[]): [string, string][] {
  const { configMap, secret, projected } = volume;
  if (configMap !== undefined) return Object.entries(dataOf(from, "ConfigMap", configMap.name));
  const secrets =
    projected?.sources.map((source) => source.secret.name) ??
    (secret === undefined ? [] : [secret.secretName]);
  return secrets.flatMap((name) =>
    Object.entries(dataOf(from, "Secret", name)).map(([key, value]): [string, string] => [
      key,
      Buffer.from(value, "base64").toString(),
    ]),
  );
}

function api(): ApiClient {
  const token = readFileSync(join(kustomization, "base/secrets/operator_token"), "utf8").trim();
  return new ApiClient({ url, token });
}

function podOf(name: string): RehearsedPod {
  return new RehearsedPod(workloads.find((workload) => workload.name === name)!);
}

beforeAll(async () => {
  const pod = podOf("coordinator");
  const ports = ["--http", "127.0.0.1:0", "--frames", "127.0.0.1:0"];
  const child = pod.start(pod.container("coordinator"), ports, {});
  const ready = await until("the coordinator is ready", () => {
    const log = logs.get("coordinator") ?? "";
    if (child.exitCode !== null) throw new Error(`the coordinator ended: ${log}`);
    return log.split("\n").find((line) => line.includes('"msg":"ready"'));
  });
  url = `http://127.0.0.1:${(JSON.parse(ready) as { http_port: number }).http_port}`;
});

afterAll(async () => {
  // Nodes first, because they deregister at the coordinator.
  for (const child of started.toReversed()) {
    child.kill("SIGTERM");
    await Promise.race([child.exited, Bun.sleep(STOP_MS)]);
    child.kill("SIGKILL");
    await child.exited;
  }
  for (const path of [dir, kustomization]) rmSync(path, { recursive: true, force: true });
});

describe("the pods' commands, without a cluster (A3, H9)", () => {
  test("the coordinator answers its probes", async () => {
    const pod = workloads.find(({ name }) => name === "coordinator")!.pod;
    const { startupProbe, livenessProbe, readinessProbe } = pod.containers[0]!;
    for (const probe of [startupProbe, livenessProbe, readinessProbe])
      expect((await fetch(`${url}${probe!.httpGet.path}`)).status).toBe(200);
  });

  for (const { workload, id, nodeClass } of NODES)
    test(`${workload} installs the agent, and ${id} is LIVE with a confirmed track`, async () => {
      const pod = podOf(workload);
      const init = pod.start(pod.container("agent"), [], {});
      expect(await init.exited).toBe(0);
      pod.start(pod.container("sensors"), [], { FLEET_COORDINATOR_URL: url });
      expect((await untilLive(id, 1)).class).toBe(nodeClass as NodeView["class"]);
      await until(`${id} has a confirmed track`, async () => {
        const params = { stream: `${id}.radar` };
        const reply = await api().attempt(trackersApi.tracks, { params });
        return reply.at === "ok" && reply.body.tracks.length > 0;
      });
    });

  test("the next pod of mast is the same node, although it has no state of the previous one (A14)", async () => {
    const { id } = NODES.find(({ workload }) => workload === "mast")!;
    const before = started.at(-1)!;
    before.kill("SIGTERM");
    expect(await before.exited).toBe(143);
    rmSync(join(dir, "mast"), { recursive: true });
    const pod = podOf("mast");
    expect(await pod.start(pod.container("agent"), [], {}).exited).toBe(0);
    pod.start(pod.container("sensors"), [], { FLEET_COORDINATOR_URL: url });
    await untilLive(id, 2);
  });
});

function untilLive(id: string, epoch: number): Promise<NodeView> {
  return until(`${id} is LIVE in epoch ${epoch}`, async () => {
    const reply = await api().attempt(nodesApi.get, { params: { id } });
    const view = reply.at === "ok" ? reply.body : undefined;
    return view?.state === "LIVE" && view.epoch === epoch && view;
  });
}

describe("the configs of the ConfigMaps (H9)", () => {
  function run(binary: string, args: readonly string[]): { code: number; stderr: string } {
    const { exitCode, stderr } = Bun.spawnSync([join(DIST, binary), ...args], {
      env: { PATH: process.env["PATH"] ?? "" },
    });
    return { code: exitCode, stderr: stderr.toString() };
  }

  for (const node of ["radar", "mast"])
    test(`the agent accepts the config of ${node}`, () => {
      const path = join(dir, `${node}.yaml`);
      const yaml = dataOf(manifests, "ConfigMap", node)["agent.yaml"]!;
      writeFileSync(path, yaml);
      expect(run("fleet-agent", ["--detect-only", "--config", path])).toEqual({
        code: 0,
        stderr: "",
      });
      writeFileSync(path, yaml.replace("bytes_max", "bytes"));
      expect(run("fleet-agent", ["--detect-only", "--config", path])).toEqual({
        code: 78,
        stderr: `fleet-agent: ${path}: spool.bytes: unknown key\n`,
      });
    });

  test("the coordinator accepts its config", () => {
    const path = join(dir, "coordinator.yaml");
    writeFileSync(path, dataOf(manifests, "ConfigMap", "coordinator")["coordinator.yaml"]!);
    expect(run(COORDINATOR, ["check-config", path])).toEqual({ code: 0, stderr: "" });
  });
});

describe("the DaemonSet's command", () => {
  const mast = workloads.find(({ name }) => name === "mast")!.pod.containers[0]!;
  const script = mast.command!.at(-1)!.replace(/exec \S+$/, 'echo "$FLEET_NODE_ID"');
  const shells = [["dash"], ["bash", "--posix"], ["busybox", "sh"]].filter(([shell]) => {
    if (Bun.which(shell!) !== null || process.env["CI"] !== undefined) return true;
    console.log(`skipped the DaemonSet's command in ${shell}: not installed`);
    return false;
  });

  for (const shell of shells)
    test(`turns a machine's name into a node id in ${shell[0]}`, () => {
      for (const [machine, id] of [
        ["worker1", "mast-worker1"],
        ["ip-10-0-1-23.eu-west-1.compute.internal", "mast-ip-10-0-1-23-eu-west-1-compute-internal"],
        ["192.0.2.7", "mast-192-0-2-7"],
      ] as const) {
        const { stdout } = Bun.spawnSync([...shell, "-c", script], {
          env: { PATH: process.env["PATH"] ?? "", MACHINE: machine },
        });
        expect(stdout.toString()).toBe(`${id}\n`);
      }
    });
});
