/**
 * How nodes enter, and who may speak for them. A register is on disk before it is answered, together with all others of the
 * same turn of the event loop. Called by the registry. (R1, R9, R10, H5)
 */
import { type Clock, type Counts, Hook, type Log, LogLimiter } from "@fleet/daemon";
import type { InstanceId, NodeId } from "@fleet/protocol";
import type { Committer } from "../../db/commit.ts";
import { stateAt } from "../liveness/sweep.ts";
import type { NodeTables } from "../node-tables.ts";
import type {
  AgentRegistration,
  PlainOutcome,
  Proof,
  RegisterOutcome,
  RegistryOptions,
  Standing,
} from "../node.ts";
import type { NodeStore } from "../node-store.ts";
import type { Uptime } from "../liveness/uptime.ts";
import { decidePlain, decideRegister, hasCredentials, type Registered } from "./decisions.ts";
import type { TakeoverGuard } from "./takeover-guard.ts";

/** Maximum number of agents that register at once; one more is `busy`. */
export const REGISTERS_MAX = 512;

/** Why a request of an instance is refused. */
type Refusal = Exclude<RegisterOutcome["at"], "registered" | "busy">;

/** The parts enrolment works with. */
export interface EnrolmentDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly commits: Committer;
  readonly tables: NodeTables;
  readonly store: NodeStore;
  readonly uptime: Uptime;
  readonly takeovers: TakeoverGuard;
  /** Requests of instances that may not speak for their nodes, by the reason they were refused for. */
  readonly refused: Counts;
  readonly options: RegistryOptions;
}

/** Admits nodes, and judges their instances and credentials. */
export class Enrolment {
  /** Called with a node and its new instance when that has replaced another. A listener returns whether the other was connected. */
  readonly superseded = new Hook<[NodeId, InstanceId | null], boolean>();
  readonly #deps: EnrolmentDeps;
  readonly #logLimiter: LogLimiter;
  /** The registers that wait for the disk: one for each node, each with a ticket of its own. */
  readonly #entering = new Map<NodeId, object>();

  constructor(deps: EnrolmentDeps) {
    this.#deps = deps;
    this.#logLimiter = new LogLimiter(deps.clock);
  }

  /**
   * Registers an agent's instance, see decideRegister. `busy` when REGISTERS_MAX or another of its node are under way, or its
   * node is removed meanwhile. Rejects with the database's error. (R1, R9)
   */
  async register(registration: AgentRegistration, proof: Proof): Promise<RegisterOutcome> {
    const id = registration.node_id;
    if (this.#entering.size >= REGISTERS_MAX || this.#entering.has(id)) return { at: "busy" };
    const ticket = {};
    this.#entering.set(id, ticket);
    try {
      const { outcome, replaced } = await this.#commit(registration, proof, ticket);
      if (outcome.at !== "registered" && outcome.at !== "busy")
        this.#afterRefusal(registration, outcome.at);
      if (replaced !== undefined) {
        const answers = this.superseded.call(id, registration.instance_id);
        if (answers.includes(true)) this.#noteAlive(id, replaced);
      }
      return outcome;
    } finally {
      if (this.#entering.get(id) === ticket) this.#entering.delete(id);
    }
  }

  #commit(registration: AgentRegistration, proof: Proof, ticket: object): Promise<Registered> {
    const { commits, tables, takeovers, options, uptime } = this.#deps;
    const { node_id: id, instance_id: instance } = registration;
    const known = tables.nodes.get(id);
    const isLive = known !== undefined && stateAt(known, uptime, options) === "LIVE";
    const request = {
      registration,
      proof,
      now: tables.now(),
      isReplaced: this.#isReplaced(id, instance),
      isHeld: isLive && takeovers.isContested(id),
    };
    return commits.commit(tables.keysOf(id), (previous) => {
      // What the agent showed may be void when its node was removed in the same turn.
      const isRemoved = known !== undefined && previous.node === undefined;
      if (this.#entering.get(id) !== ticket || isRemoved)
        return { outcome: { outcome: { at: "busy" } } };
      return decideRegister(previous, request, options);
    });
  }

  /** Has a register of this node that waits end as `busy`, since the node is to be removed. */
  turnBack(id: NodeId): void {
    this.#entering.delete(id);
  }

  /**
   * A plain node sent a line. A node that is not known enters, in `group`; a node with an agent that has credentials of its own
   * does not count as heard. Writes at once, since the lines behind this one don't wait. (R10)
   */
  heardPlain(id: NodeId, group: string | null): PlainOutcome {
    const { commits, tables, options } = this.#deps;
    const known = tables.nodes.get(id);
    if (known !== undefined) {
      if (hasCredentials(known.row)) return "has_agent";
      tables.touch(known);
      return "heard";
    }
    const now = tables.now();
    try {
      const outcome = commits.commitNow(tables.keysOf(id), (previous) =>
        decidePlain(previous, { id, group, now }, options),
      );
      if (outcome === "too_many") this.#logFull("plain", id);
      return outcome;
    } catch {
      return "unavailable";
    }
  }

  /** Whether `instance` may speak for its node. Counts it as refused when it may not. (R9) */
  standing(id: NodeId, instance: InstanceId, epoch: number): Standing {
    const { tables, store } = this.#deps;
    if (tables.blocked.has(id)) return this.#refuse("blocked");
    const row = tables.nodes.get(id)?.row;
    if (row?.kind !== "agent") return "unknown";
    if (row.instanceId === instance && row.epoch === epoch) return "current";
    if (epoch >= row.epoch && !store.isSuperseded(id, instance)) return "unknown";
    this.#noteAlive(id, instance);
    return this.#refuse("superseded");
  }

  /** Why an instance may not have its node, whatever it shows; undefined when it may. Counts it as refused. (R4, R9) */
  barred(id: NodeId, instance: InstanceId | null): "blocked" | "superseded" | undefined {
    if (this.#deps.tables.blocked.has(id)) return this.#refuse("blocked");
    if (instance === null || !this.#isReplaced(id, instance)) return undefined;
    this.#noteAlive(id, instance);
    return this.#refuse("superseded");
  }

  /** Whether a refresh token issued at `epoch` is valid: not once its node was removed or enrolled again. (H5) */
  honours(id: NodeId, epoch: number): boolean {
    const { nodes, admission } = this.#deps.tables;
    return epoch > (nodes.get(id)?.row.voidEpoch ?? admission.voidFloor);
  }

  #isReplaced(id: NodeId, instance: InstanceId | null): boolean {
    const { tables, store } = this.#deps;
    if (instance === null || tables.nodes.get(id)?.row.instanceId === instance) return false;
    return store.isSuperseded(id, instance);
  }

  #afterRefusal({ node_id: id, instance_id: instance }: AgentRegistration, reason: Refusal): void {
    this.#refuse(reason);
    if (reason === "superseded") this.#noteAlive(id, instance!);
    if (reason === "contested") this.#deps.takeovers.prolong(id);
    if (reason === "too_many_nodes") this.#logFull("agent", id);
  }

  #refuse<R extends Refusal>(reason: R): R {
    this.#deps.refused.add(reason);
    return reason;
  }

  /** An instance that was replaced has shown that it is alive. */
  #noteAlive(id: NodeId, instance: InstanceId): void {
    const { takeovers, commits, clock } = this.#deps;
    if (!takeovers.noteAlive(id, instance)) return;
    const event = { kind: "node.contested", nodeId: id, atMs: clock.nowMs(), data: {} } as const;
    commits.batch(() => {}, [event]);
  }

  #logFull(kind: "agent" | "plain", id: NodeId): void {
    const heldBack = this.#logLimiter.pass(kind);
    if (heldBack !== undefined)
      this.#deps.log.warn(
        { node_id: id, held_back: heldBack },
        `too many ${kind} nodes, node refused`,
      );
  }
}
