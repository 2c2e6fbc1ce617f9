/**
 * The processes of the demo: a coordinator with an empty database, and an agent for each node. Stops them in order and leaves
 * neither a process nor a file behind, even when the demo is killed.
 */
import { join } from "node:path";
import { dist } from "../lib/build-binaries.ts";
import { FleetApi } from "../harness/fleet-api.ts";
import { Guard } from "../harness/guard.ts";
import { DEMO_NODES, type PreparedNode, prepareNode } from "./nodes.ts";
import type { DemoOptions } from "./options.ts";
import { freeRange } from "../harness/ports.ts";
import { LoggedProcess, type Program } from "../harness/logged-process.ts";
import { killMarked } from "../harness/proc.ts";
import type { StopRequest } from "../harness/stop-request.ts";
import type { DemoView } from "./view.ts";
import {
  agentArgs,
  coordinatorArgs,
  createWorkspace,
  removeWorkspace,
  type Workspace,
} from "./workspace.ts";

/** More than the demo has trackers, because a port may be taken in the meantime. */
const TRACKER_PORTS = 16;
const READY_MS_MAX = 20_000;
const READY_POLL_MS = 100;

/** The demo cannot continue. `process` is the one whose log explains why. */
export class DemoError extends Error {
  readonly code = "demo_failed";
  readonly process: LoggedProcess | undefined;
  constructor(message: string, process?: LoggedProcess) {
    super(message);
    this.process = process;
  }
}

/** Used once: construct, `start`, `observe` as often as needed, `stop`. */
export class DemoFleet {
  readonly workspace: Workspace = createWorkspace();
  readonly nodes: readonly PreparedNode[];
  readonly #options: DemoOptions;
  readonly #url: string;
  readonly #api: FleetApi;
  readonly #guard: Guard;
  /** In the environment of every process started, directly or indirectly. */
  readonly #mark: string;
  readonly #agents = new Map<string, LoggedProcess>();
  #coordinator: LoggedProcess | undefined;
  #view: DemoView;
  #startedMs = performance.now();

  constructor(options: DemoOptions) {
    this.#options = options;
    const { dir, operatorToken, operatorTokenFile } = this.workspace;
    this.#mark = `FLEET_DEMO=${dir}`;
    this.#guard = new Guard(this.#mark, options.keep ? undefined : dir);
    this.#url = `http://127.0.0.1:${options.httpPort}`;
    this.#api = new FleetApi(this.#url, operatorToken);
    this.nodes = DEMO_NODES.map((node) => prepareNode(node, dir));
    this.#view = {
      nowMs: Date.now(),
      elapsedMs: 0,
      nodes: this.nodes.map((node) => ({
        node,
        end: undefined,
        registered: undefined,
        stream: undefined,
      })),
      problem: undefined,
      httpUrl: this.#url,
      framesPort: options.framesPort,
      operatorTokenFile,
      dir,
    };
  }

  /** Starts the coordinator and, once it is ready, the agents. Returns early if a stop is requested. Throws `DemoError`. */
  async start(stop: StopRequest): Promise<void> {
    const { workspace } = this;
    const { httpPort, framesPort } = this.#options;
    const first = freeRange(TRACKER_PORTS, [httpPort, framesPort]);
    if (first === undefined)
      throw new DemoError(`There are no ${TRACKER_PORTS} consecutive free ports for the trackers.`);
    const trackerPorts = { first, last: first + TRACKER_PORTS - 1 };
    const coordinator = this.#spawn({
      name: "coordinator",
      path: join(dist, "fleet-coordinator"),
      args: coordinatorArgs(workspace, this.#options, trackerPorts),
    });
    this.#coordinator = coordinator;
    await this.#untilReady(coordinator, stop);
    this.#startedMs = performance.now();
    if (stop.signal !== undefined) return;
    for (const node of this.nodes) {
      if (node.at === "skipped") continue;
      const args = agentArgs(workspace, node, this.#url);
      const agent = this.#spawn({ name: node.name, path: join(dist, "fleet-agent"), args });
      this.#agents.set(node.name, agent);
    }
  }

  /** Returns the current state. Throws `DemoError` if the coordinator has ended. */
  async observe(): Promise<DemoView> {
    const coordinator = this.#coordinator;
    if (coordinator?.end !== undefined)
      throw new DemoError(`The coordinator has ended: ${coordinator.end}.`, coordinator);
    let problem: string | undefined;
    const answer = await this.#api.ask().catch((error: unknown) => {
      problem = error instanceof Error ? error.message : String(error);
    });
    const nodes = this.#view.nodes.map(({ node, registered, stream }) => ({
      node,
      end: this.#agents.get(node.name)?.end,
      registered: answer?.nodes.find(({ node_id: id }) => id === node.name) ?? registered,
      stream: answer?.trackers.find(({ node_id: id }) => id === node.name) ?? stream,
    }));
    const elapsedMs = performance.now() - this.#startedMs;
    this.#view = { ...this.#view, nowMs: Date.now(), elapsedMs, nodes, problem };
    return this.#view;
  }

  /** Returns the process of a node's agent; undefined if the node is skipped. */
  agentOf(name: string): LoggedProcess | undefined {
    return this.#agents.get(name);
  }

  /** Stops the agents first, so that they can deregister, then the coordinator, which stops its trackers. Removes the files. */
  async stop(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.stop()));
    await this.#coordinator?.stop();
    this.#clean();
  }

  /** Kills everything at once. Removes the files. */
  kill(): void {
    for (const agent of this.#agents.values()) agent.kill();
    this.#coordinator?.kill();
    this.#clean();
  }

  /** Also kills the trackers and sensors that a killed coordinator or agent has left behind. */
  #clean(): void {
    killMarked(this.#mark);
    if (!this.#options.keep) removeWorkspace(this.workspace);
    this.#guard.dismiss();
  }

  #spawn(program: Program): LoggedProcess {
    const child = new LoggedProcess(program, this.workspace.logs, this.#mark);
    this.#guard.watch(child);
    return child;
  }

  async #untilReady(coordinator: LoggedProcess, stop: StopRequest): Promise<void> {
    const endMs = performance.now() + READY_MS_MAX;
    while (!(await this.#api.isReady())) {
      if (coordinator.end !== undefined)
        throw new DemoError(`The coordinator has ended: ${coordinator.end}.`, coordinator);
      if (performance.now() > endMs)
        throw new DemoError(
          `The coordinator was not ready within ${READY_MS_MAX / 1000} s.`,
          coordinator,
        );
      if (await stop.within(READY_POLL_MS)) return;
    }
  }
}
