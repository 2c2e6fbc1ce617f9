/**
 * A coordinator and agents in containers on one of the engine's networks. Their sensors number the frames and their trackers
 * record them, so that tests can compare what was produced with what arrived.
 */
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ApiClient } from "../../packages/api-client/src/index.ts";
import {
  nodesApi,
  type NodeView,
  trackersApi,
  type TrackerView,
} from "../../packages/protocol/src/index.ts";
import { runOrThrow } from "./command.ts";
import { type Engine, until } from "./engine.ts";
import { AGENT_IMAGE, COORDINATOR_IMAGE } from "./stock.ts";

const NOBODY = 65_534;
const COORDINATOR_UID = 65_532;
const HTTP_PORT = 7700;
/** Port on the engine's loopback. Compose uses 7700. */
const PUBLISHED_PORT = 17_700;
const NETWORK = "field";
/** Tokens of the tests. The coordinator reads them from files. */
const TOKENS = {
  enroll_token: "enroll-token-of-the-containers",
  operator_token: "operator-token-of-the-containers",
  push_token: "push-token-of-the-containers",
} as const;

/** Flags of every container: a read-only root file system, no capabilities, and no way to gain any. */
export const RESTRICTED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"];

/** Returns 1, 2 … `last`, the numbers of a sensor's frames. */
export function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, i) => i + 1);
}

/** Options of an agent's container. */
export interface AgentOptions {
  readonly image: string;
  readonly runtime: string;
  /** A file in /sensors and its arguments. */
  readonly sensor: readonly string[];
  /** Path of the agent in the container. Default: in the volume. */
  readonly program?: string;
  readonly args?: readonly string[];
  /** Additional flags for `docker run`. */
  readonly flags?: readonly string[];
}

/** A coordinator and any number of agents. */
export class Fleet {
  readonly engine: Engine;
  readonly #dir: string;
  #client!: ApiClient;

  private constructor(engine: Engine) {
    this.engine = engine;
    this.#dir = join(engine.dir, "fleet");
  }

  /** The tokens, which must not appear anywhere. */
  get tokens(): readonly string[] {
    return Object.values(TOKENS);
  }

  /** Starts a coordinator and installs the agent into the volume that agents are started from. */
  static async start(engine: Engine): Promise<Fleet> {
    const fleet = new Fleet(engine);
    fleet.#directory("", 0);
    fleet.#directory("data", COORDINATOR_UID);
    for (const name of ["agents", "frames", "secrets", "sensors"]) fleet.#directory(name, 0);
    chmodSync(join(fleet.#dir, "frames"), 0o777);
    for (const [name, token] of Object.entries(TOKENS)) fleet.#write(`secrets/${name}`, token);
    const tracker = {
      command: ["/sensors/recorder", "{port}", "/frames/{stream}"],
      stop_grace: "1s",
    };
    // Short, because counters arrive with heartbeats.
    const registry = { heartbeat_interval: "1s" };
    fleet.#write("coordinator.yaml", JSON.stringify({ tracker, registry }));
    await fleet.#fillSensors();
    await engine.docker("network", "create", NETWORK);
    await engine.docker("volume", "create", "agent");
    await fleet.install();
    await fleet.runCoordinator("coordinator", [
      "--publish",
      `127.0.0.1:${PUBLISHED_PORT}:${HTTP_PORT}`,
    ]);
    fleet.#client = new ApiClient({
      url: "http://coordinator",
      unix: await engine.relay(PUBLISHED_PORT),
      token: TOKENS.operator_token,
    });
    await fleet.untilReady();
    return fleet;
  }

  /** Installs the agent into the volume, as an init container does. Returns its output. */
  install(): Promise<string> {
    // As root, because the volume belongs to root: the image has no directory of that name to inherit an owner from.
    const flags = ["--rm", "--user=0:0", ...RESTRICTED, "--volume=agent:/fleet"];
    return this.engine.docker("run", ...flags, AGENT_IMAGE, "install", "/fleet");
  }

  /** Starts a coordinator on this fleet's data. */
  async runCoordinator(name: string, flags: readonly string[] = []): Promise<void> {
    const files = Object.keys(TOKENS).map(
      (token) => `--env=FLEET_${token.toUpperCase()}_FILE=/run/secrets/${token}`,
    );
    const volumes = [
      `${this.#dir}/data:/data`,
      `${this.#dir}/frames:/frames`,
      `${this.#dir}/secrets:/run/secrets:ro`,
      `${this.#dir}/sensors:/sensors:ro`,
      `${this.#dir}/coordinator.yaml:/etc/fleet/coordinator.yaml:ro`,
    ].map((volume) => `--volume=${volume}`);
    const all = ["--detach", `--name=${name}`, `--network=${NETWORK}`, ...RESTRICTED, ...files];
    const command = ["serve", "--data-dir", "/data", "--config", "/etc/fleet/coordinator.yaml"];
    await this.engine.docker("run", ...all, ...volumes, ...flags, COORDINATOR_IMAGE, ...command);
  }

  /** Starts an agent in a stock image as the node `name`, with one sensor `radar`. */
  async runAgent(name: string, options: AgentOptions): Promise<void> {
    const [file, ...args] = options.sensor;
    const command = [`/sensors/${file}`, "/state/last", ...args];
    const sensors = [{ name: "radar", runtime: options.runtime, command }];
    const config = { node: { name }, runtimes: ["auto", "native"], sensors };
    this.#write(`agents/${name}.yaml`, JSON.stringify(config));
    this.#directory(`state-${name}`, NOBODY);
    const volumes = [
      "agent:/opt/fleet:ro",
      `${this.#dir}/agents/${name}.yaml:/etc/fleet/agent.yaml:ro`,
      `${this.#dir}/secrets/enroll_token:/run/secrets/enroll_token:ro`,
      `${this.#dir}/sensors:/sensors:ro`,
      `${this.#dir}/state-${name}:/state`,
    ].map((volume) => `--volume=${volume}`);
    const variables = {
      FLEET_COORDINATOR_URL: `http://coordinator:${HTTP_PORT}`,
      FLEET_ENROLL_TOKEN_FILE: "/run/secrets/enroll_token",
      FLEET_AGENT_CONFIG: "/etc/fleet/agent.yaml",
      FLEET_STATE_DIR: "/state",
    };
    const env = Object.entries(variables).map(([key, value]) => `--env=${key}=${value}`);
    const all = [
      "--detach",
      `--name=${name}`,
      `--network=${NETWORK}`,
      `--user=${NOBODY}:${NOBODY}`,
    ];
    const flags = [...RESTRICTED, ...volumes, ...env, ...(options.flags ?? [])];
    const entrypoint = `--entrypoint=${options.program ?? "/opt/fleet/fleet-agent"}`;
    await this.engine.docker(
      "run",
      ...all,
      ...flags,
      entrypoint,
      options.image,
      ...(options.args ?? []),
    );
  }

  async node(name: string): Promise<NodeView | undefined> {
    const reply = await this.#client.attempt(nodesApi.get, { params: { id: name } });
    return reply.at === "ok" ? reply.body : undefined;
  }

  async tracker(name: string): Promise<TrackerView | undefined> {
    const params = { stream: `${name}.radar` };
    const reply = await this.#client.attempt(trackersApi.get, { params });
    return reply.at === "ok" ? reply.body : undefined;
  }

  /** Whether the operators' API responds. */
  async isUp(): Promise<boolean> {
    return (await this.#client.attempt(nodesApi.list, {})).at === "ok";
  }

  async untilReady(): Promise<void> {
    await until("the coordinator responds", () => this.isUp());
  }

  /** Waits until a node is in a state. Throws with the container's log if that takes too long. */
  async untilState(name: string, state: NodeView["state"]): Promise<NodeView> {
    return this.#orLogs(name, () =>
      until(`${name} is ${state}`, async () => {
        const node = await this.node(name);
        return node?.state === state && node;
      }),
    );
  }

  /** Waits until the node's tracker has received `count` frames. Throws with the container's log if that takes too long. */
  async untilFrames(name: string, count: number): Promise<void> {
    const what = `${count} frames of ${name} have arrived`;
    await this.#orLogs(name, () => until(what, () => this.frames(name).length >= count));
  }

  /** Returns the numbers of the frames that the node's trackers have received, in order. */
  frames(name: string): readonly number[] {
    const lines = this.#read(`frames/${name}.radar`).split("\n");
    // The text after the last LF is still being written.
    return lines.slice(0, -1).map((line) => Number(/"delay":\[(\d+)/.exec(line)?.[1]));
  }

  /** Returns the number of the last frame of the node's sensor after an orderly stop; NaN before. */
  lastFrame(name: string): number {
    return Number(this.#read(`state-${name}/last`) || Number.NaN);
  }

  /** Returns the output of a container. */
  async logs(container: string): Promise<string> {
    const { stdout, stderr } = await this.engine.attempt("logs", container);
    return stdout + stderr;
  }

  /** Returns how a stopped container ended. */
  async ending(container: string): Promise<{ readonly code: number; readonly oom: boolean }> {
    const format = "--format={{.State.ExitCode}} {{.State.OOMKilled}}";
    const [code, oom] = (await this.engine.docker("inspect", format, container)).split(" ");
    return { code: Number(code), oom: oom === "true" };
  }

  async remove(...containers: readonly string[]): Promise<void> {
    await this.engine.docker("rm", "--force", "--volumes", ...containers);
  }

  /** Adds the container's log to an error of `work`. */
  async #orLogs<T>(container: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const logs = await this.logs(container);
      throw new Error(`${String(error)}; ${container} printed:\n${logs}`, { cause: error });
    }
  }

  /** Copies the sensors and compiles the native sensor and the tracker. */
  async #fillSensors(): Promise<void> {
    const to = join(this.#dir, "sensors");
    cpSync(join(import.meta.dir, "sensors"), to, { recursive: true });
    // Independent of the umask of the clone.
    await runOrThrow(["chmod", "-R", "a+rX", to]);
    const flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-static"];
    for (const name of ["numbers", "recorder"]) {
      const source = join(import.meta.dir, "programs", `${name}.c`);
      await runOrThrow(["gcc", ...flags, source, "-o", join(to, name)]);
    }
  }

  #directory(name: string, uid: number): void {
    const path = join(this.#dir, name);
    mkdirSync(path, { recursive: true });
    chmodSync(path, 0o755);
    chownSync(path, uid, uid);
  }

  #write(name: string, text: string): void {
    const path = join(this.#dir, name);
    writeFileSync(path, text);
    chmodSync(path, 0o644);
  }

  #read(name: string): string {
    const path = join(this.#dir, name);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }
}
