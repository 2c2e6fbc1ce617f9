/**
 * The demo's coordinator and agents, as processes: started with an empty database, stopped in order with nothing left behind,
 * neither process nor file. Used once.
 */
import { join } from "node:path";
import { dist } from "../lib/build-binaries.ts";
import { FleetApi } from "./fleet-api.ts";
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

/** More than there are trackers: a port may be taken in the meantime. */
const TRACKER_PORTS = 16;
const READY_MS_MAX = 20_000;
const READY_POLL_MS = 100;

/** The demo can't go on. `process` is the one whose log tells more. */
export class DemoError extends Error {
  readonly code = "demo_failed";
  readonly process: LoggedProcess | undefined;
  constructor(message: string, process?: LoggedProcess) {
    super(message);
    this.process = process;
  }
}

/** See the head of this file. */
export class DemoFleet {
  readonly workspace: Workspace = createWorkspace();
  readonly nodes: readonly PreparedNode[];
  readonly #options: DemoOptions;
  readonly #url: string;
  readonly #api: FleetApi;
  readonly #guard: Guard;
  /** In the environment of everything we start, directly or not. */
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

  /** Starts the coordinator, and the agents once it is ready. Returns early when a stop is asked for. Throws `DemoError`. */
  async start(stop: StopRequest): Promise<void> {
    const { workspace } = this;
    const { httpPort, framesPort } = this.#options;
    const first = freeRange(TRACKER_PORTS, [httpPort, framesPort]);
    if (first === undefined)
      throw new DemoError(`There are no ${TRACKER_PORTS} free ports in a row for the trackers.`);
    const trackerPorts = { first, last: first + TRACKER_PORTS - 1 };
    const coordinator = this.#spawn({
      name: "coordinator",
      path: join(dist, "fleet-coordinator"),
      args: coordinatorArgs(workspace, this.#options, trackerPorts),
    });
    this.#coordinator = coordinator;
    await this.#whenReady(coordinator, stop);
    this.#startedMs = performance.now();
    if (stop.signal !== undefined) return;
    for (const node of this.nodes) {
      if (node.at === "skipped") continue;
      const args = agentArgs(workspace, node, this.#url);
      const agent = this.#spawn({ name: node.name, path: join(dist, "fleet-agent"), args });
      this.#agents.set(node.name, agent);
    }
  }

  /** How things stand now. Throws `DemoError` when the coordinator has ended. */
  async look(): Promise<DemoView> {
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

  /** The process of a node's agent, if it has one. */
  agentOf(name: string): LoggedProcess | undefined {
    return this.#agents.get(name);
  }

  /** Agents first, so that they can say goodbye; then the coordinator, which stops its trackers. Then the files go. */
  async stop(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.stop()));
    await this.#coordinator?.stop();
    this.#clean();
  }

  /** Ends everything this instant. */
  kill(): void {
    for (const agent of this.#agents.values()) agent.kill();
    this.#coordinator?.kill();
    this.#clean();
  }

  /** A coordinator or agent that was killed has left its trackers or sensors behind. */
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

  async #whenReady(coordinator: LoggedProcess, stop: StopRequest): Promise<void> {
    const endMs = performance.now() + READY_MS_MAX;
    while (!(await this.#api.isReady())) {
      if (coordinator.end !== undefined)
        throw new DemoError(`The coordinator has ended: ${coordinator.end}.`, coordinator);
      if (performance.now() > endMs)
        throw new DemoError(
          `The coordinator is not ready after ${READY_MS_MAX / 1000} s.`,
          coordinator,
        );
      if (await stop.within(READY_POLL_MS)) return;
    }
  }
}
