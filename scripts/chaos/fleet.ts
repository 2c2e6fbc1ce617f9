/**
 * The fleet of the chaos test: a coordinator, agents and plain nodes, with proxies between them. Performs the actions of the
 * schedule, and skips one whose target is busy or absent.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { compileC } from "../../apps/coordinator/test/rig/compile-c.ts";
import { Guard } from "../harness/guard.ts";
import { freeRange } from "../harness/ports.ts";
import { killMarked, marked } from "../harness/proc.ts";
import { ChaosAgent } from "./parts/agent.ts";
import { ChaosCoordinator } from "./parts/coordinator.ts";
import { Disk, whyNoDisks } from "./parts/disk.ts";
import { numberOf, readInputs, runOf } from "./frames.ts";
import { PlainNode } from "./parts/plain-node.ts";
import { Proxy } from "./parts/proxy.ts";
import type { Action } from "./schedule.ts";

const TRACKER_SOURCE = join(import.meta.dir, "../../apps/coordinator/test/rig/recorder.c");
const SENSOR_SOURCE = join(import.meta.dir, "parts/sensor.c");
const PLAIN_NODES = 2;
const AGENT_DISK = "16m";
const COORDINATOR_DISK = "32m";
const CUT_MS = 50;
const PORT_RESERVE = 8;
const PORTS_FROM = 5000;
const PORT_BLOCKS = 150;
const ENROLL_TOKEN = "enroll-token-of-the-chaos-test";

/** The test cannot run on this machine. */
export class ChaosError extends Error {
  readonly code = "chaos_impossible";
}

/** The outcome of an action: done, or why it was skipped. */
export type Outcome = "done" | "busy" | "no target" | "not now";

/** Used once: construct, `start`, `act`, `mend`, `stop`, `close`. */
export class ChaosFleet {
  readonly dir = mkdtempSync(join(tmpdir(), "fleet-chaos-"));
  /** Why no disk can be filled; undefined if they can. */
  readonly whyNoDisks: string | undefined;
  readonly violations: string[] = [];
  readonly #mark = `FLEET_CHAOS=${this.dir}`;
  readonly #guard = new Guard(this.#mark, this.dir);
  readonly #disks: Disk[] = [];
  readonly #proxies: Proxy[] = [];
  #agents: readonly ChaosAgent[] = [];
  #plain: readonly PlainNode[] = [];
  #coordinator: ChaosCoordinator | undefined;

  constructor() {
    this.whyNoDisks = whyNoDisks(this.dir);
    for (const name of ["logs", "sensors", "inputs"]) mkdirSync(join(this.dir, name));
  }

  get agents(): readonly ChaosAgent[] {
    return this.#agents;
  }

  get plain(): readonly PlainNode[] {
    return this.#plain;
  }

  get coordinator(): ChaosCoordinator {
    return this.#coordinator!;
  }

  get streams(): readonly string[] {
    return [
      ...this.#agents.flatMap(({ sensors }) => sensors.map(({ stream }) => stream)),
      ...this.#plain.map(({ name }) => name),
    ];
  }

  /** Compiles the test programs, mounts disks, opens proxies and starts everything. Throws `ChaosError`. */
  async start(agents: number): Promise<void> {
    const trackerProgram = this.#compile("tracker", TRACKER_SOURCE);
    const sensorProgram = this.#compile("sensor", SENSOR_SOURCE);
    const enrollTokenFile = join(this.dir, "enroll-token");
    writeFileSync(enrollTokenFile, ENROLL_TOKEN, { mode: 0o600 });
    const count = 2 + agents * 2 + PLAIN_NODES + PORT_RESERVE;
    // While the coordinator is down its ports are free, so avoid ports that other programs are likely to pick.
    const first = freeRange(count, [], PORTS_FROM + (process.pid % PORT_BLOCKS) * count);
    if (first === undefined) throw new ChaosError(`There are no ${count} consecutive free ports.`);
    const http = await Proxy.open(() => first);
    const frames = await Proxy.open(() => first + 1);
    this.#proxies.push(http, frames);
    const common = {
      dir: this.dir,
      mark: this.#mark,
      watch: (child: Parameters<Guard["watch"]>[0]) => this.#guard.watch(child),
      reportViolation: (sentence: string) => void this.violations.push(sentence),
    };
    const coordinator = new ChaosCoordinator({
      ...common,
      trackerProgram,
      httpPort: first,
      framesPort: first + 1,
      advertisedPort: frames.port,
      trackerPorts: { first: first + 2, last: first + count - 1 },
      disk: this.#mount(join(this.dir, "coordinator"), COORDINATOR_DISK),
    });
    this.#coordinator = coordinator;
    this.#agents = Array.from(
      { length: agents },
      (_, i) =>
        new ChaosAgent(i, {
          ...common,
          sensorProgram,
          coordinatorUrl: `http://127.0.0.1:${http.port}`,
          enrollTokenFile,
          disk: this.#mount(join(this.dir, `agent${i}`, "state"), AGENT_DISK),
          lastArrived: (stream, run) => this.#lastArrived(stream, run),
        }),
    );
    this.#plain = Array.from(
      { length: PLAIN_NODES },
      (_, i) =>
        new PlainNode(`plain${i}`, frames.port, coordinator.pushToken, () => coordinator.life),
    );
    await coordinator.start();
    for (const agent of this.#agents) agent.start();
    for (const node of this.#plain) node.start();
  }

  /** Performs an action. Resolves when it is over, including what follows it, such as a restart or the end of a freeze. */
  async act(action: Action): Promise<Outcome> {
    if ("agent" in action) return this.#actOnAgent(this.#agents[action.agent]!, action);
    switch (action.at) {
      case "kill_coordinator":
      case "term_coordinator":
      case "freeze_coordinator":
      case "fill_coordinator":
        return this.#actOnCoordinator(action);
      case "kill_tracker":
      case "freeze_tracker":
      case "freeze_trackers_and_cut":
        return this.#actOnTracker(action);
      case "reconnect_plain":
        this.#plain[Math.floor(action.pick * this.#plain.length)]!.reconnect();
        return "done";
      default:
        return this.#actOnConnections(action);
    }
  }

  /** Ends all faults, except that half-open connections stay so for their time. Call it when no action is under way. */
  mend(): void {
    for (const disk of this.#disks) disk.free();
    this.coordinator.thaw();
    this.coordinator.thawTrackers();
    for (const agent of this.#agents) agent.thaw();
  }

  /** Stops plain nodes and agents, then the coordinator. A process that is left after that is a violation. */
  async stop(): Promise<void> {
    for (const node of this.#plain) node.kill();
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    if (!(await this.coordinator.stop()))
      this.violations.push("a killed tracker was not fed again");
    const left = marked(this.#mark);
    if (left.length > 0) this.violations.push(`processes are left running: ${left.join(", ")}`);
  }

  /** Kills everything at once. Removes all files, or keeps them with copies of the disks. */
  close(keepFiles: boolean): void {
    for (const node of this.#plain) node.kill();
    for (const proxy of this.#proxies) proxy.close();
    killMarked(this.#mark);
    for (const disk of this.#disks) {
      const copy = join(this.dir, "disks", basename(dirname(disk.dir)), basename(disk.dir));
      if (keepFiles) cpSync(disk.dir, copy, { recursive: true });
      disk.unmount();
    }
    if (!keepFiles) rmSync(this.dir, { recursive: true, force: true });
    this.#guard.dismiss();
  }

  #compile(name: string, source: string): string {
    const to = join(this.dir, name);
    const problem = compileC(source, to);
    if (problem !== undefined) throw new ChaosError(problem);
    return to;
  }

  #mount(dir: string, size: string): Disk | undefined {
    if (this.whyNoDisks !== undefined) return undefined;
    const disk = Disk.mount(dir, size);
    if (typeof disk === "string") throw new ChaosError(`${dir}: ${disk}`);
    this.#disks.push(disk);
    return disk;
  }

  #lastArrived(stream: string, run: number): number {
    let last = 0;
    for (const { frames } of readInputs(this.coordinator.inputsDir(stream), () => {}).slice(-2))
      for (const key of frames) if (runOf(key) === run) last = Math.max(last, numberOf(key));
    return last;
  }

  async #actOnAgent(
    agent: ChaosAgent,
    action: Extract<Action, { agent: number }>,
  ): Promise<Outcome> {
    if (action.at === "fill_agent")
      return agent.isSettling ? "busy" : fill(agent.disk, action.forMs);
    if (agent.isBusy) return "busy";
    if (!agent.isUp) return "no target";
    agent.isBusy = true;
    try {
      if (action.at === "freeze_agent") {
        agent.freeze();
        await Bun.sleep(action.forMs);
        agent.thaw();
        return "done";
      }
      if (action.at === "kill_agent") await agent.kill();
      if (action.at === "term_agent") await agent.stop();
      if (action.at === "kill_settled_agent") {
        const isKilled = await this.#cutOff(() => agent.killSettled());
        if (!isKilled) return "not now";
      }
      await Bun.sleep(action.downMs);
      agent.start();
      return "done";
    } finally {
      agent.isBusy = false;
    }
  }

  async #actOnCoordinator(
    action: Extract<Action, { at: `${string}_coordinator` }>,
  ): Promise<Outcome> {
    const { coordinator } = this;
    if (action.at === "fill_coordinator") return fill(coordinator.disk, action.forMs);
    if (coordinator.isBusy) return "busy";
    if (!coordinator.isUp) return "no target";
    coordinator.isBusy = true;
    try {
      if (action.at === "freeze_coordinator") {
        coordinator.freeze();
        await Bun.sleep(action.forMs);
        coordinator.thaw();
        return "done";
      }
      const isEnded = await (action.at === "kill_coordinator"
        ? coordinator.kill()
        : coordinator.stop());
      if (!isEnded) return "not now";
      await Bun.sleep(action.downMs);
      await coordinator.start();
      return "done";
    } finally {
      coordinator.isBusy = false;
    }
  }

  async #actOnTracker(
    action: Extract<Action, { at: `${string}_tracker${string}` }>,
  ): Promise<Outcome> {
    const { coordinator, streams } = this;
    if (coordinator.isBusy) return "busy";
    if (action.at === "freeze_trackers_and_cut") {
      await Promise.all(streams.map((stream) => coordinator.freezeTracker(stream)));
      await Bun.sleep(action.forMs / 2);
      await this.#cutOff(() => Bun.sleep(CUT_MS));
      await Bun.sleep(action.forMs / 2);
      coordinator.thawTrackers();
      return "done";
    }
    const stream = streams[Math.floor(action.pick * streams.length)]!;
    if (action.at === "kill_tracker")
      return (await coordinator.killTracker(stream, action.afterMs)) ? "done" : "no target";
    if (!(await coordinator.freezeTracker(stream))) return "no target";
    await Bun.sleep(action.forMs);
    coordinator.thawTracker(stream);
    return "done";
  }

  /** Disconnects all nodes from the coordinator while `work` runs. */
  async #cutOff<T>(work: () => Promise<T>): Promise<T> {
    for (const proxy of this.#proxies) proxy.goDown();
    try {
      return await work();
    } finally {
      for (const proxy of this.#proxies) proxy.comeUp();
    }
  }

  async #actOnConnections(
    action: Extract<Action, { at: "cut" | "stall" | "half_open" | "partition" }>,
  ): Promise<Outcome> {
    if (action.at === "partition") {
      await this.#cutOff(() => Bun.sleep(action.forMs));
      return "done";
    }
    const wires = this.#proxies.flatMap((proxy) => [...proxy.wires]);
    const wire = wires[Math.floor(action.pick * wires.length)];
    if (wire === undefined) return "no target";
    if (action.at === "cut") wire.cut(action.afterBytes);
    if (action.at === "stall") wire.stall(action.forMs);
    if (action.at === "half_open") wire.halfOpen(action.forMs);
    return "done";
  }
}

/** Fills a disk for a while. */
async function fill(disk: Disk | undefined, forMs: number): Promise<Outcome> {
  if (disk === undefined) return "no target";
  if (disk.isFull) return "busy";
  disk.fill();
  await Bun.sleep(forMs);
  disk.free();
  return "done";
}
