/** A registry on a database that outlives it, with a stepped clock and a record of what it publishes. For tests. */
import { FakeClock, settle } from "@fleet/daemon/testing";
import type { InstanceId, NodeId, NodeState } from "@fleet/protocol";
import { Bus, topicOf } from "../bus.ts";
import { Committer } from "../db/commit.ts";
import { type Db, MEMORY, openDb } from "../db/open.ts";
import { knownNodes } from "../db/schema.ts";
import { nodeId, RecordingLog, refuseWrites, REGISTRY_OPTIONS, registration } from "../testing.ts";
import type {
  AgentRegistration,
  NodeRow,
  Proof,
  RegisterOutcome,
  RegistryOptions,
} from "./node.ts";
import { createRegistry, type Registry } from "./registry.ts";

export const RADAR = nodeId("radar3");
export const HILL = nodeId("hill");

/** Starts a registry when it is constructed; `restart` and `kill` replace it by the next one. */
export class Rig {
  readonly db: Db;
  readonly clock: FakeClock;
  readonly log = new RecordingLog();
  /** Changes of state, as `node previous→state`. */
  readonly published: string[] = [];
  /** All other events, as `node event`. */
  readonly events: string[] = [];
  readonly superseded: string[] = [];
  readonly removed: NodeId[] = [];
  registry: Registry;
  /** Whether an instance that is replaced counts as connected. */
  isConnected = false;
  readonly #options: RegistryOptions;

  constructor(
    options: Partial<RegistryOptions> = {},
    { db = openDb(MEMORY).db, clock = new FakeClock() }: { db?: Db; clock?: FakeClock } = {},
  ) {
    this.db = db;
    this.clock = clock;
    this.#options = { ...REGISTRY_OPTIONS, ...options };
    this.registry = this.#make();
  }

  /** Starts another registry on the same database, after an orderly stop of this one. */
  restart(): void {
    void this.registry.stop();
    this.registry = this.#make();
  }

  /** Starts another registry on the same database, after a kill: what was only in memory is lost. */
  kill(): void {
    refuseWrites(this.db, true);
    void this.registry.stop();
    refuseWrites(this.db, false);
    this.registry = this.#make();
  }

  /** Advances the clock, then waits for the commits that this has caused. */
  async advance(byMs: number): Promise<void> {
    this.clock.advance(byMs);
    await settle();
  }

  state(id = RADAR): NodeState | undefined {
    const node = this.registry.get(id);
    return node && this.registry.stateOf(node);
  }

  register(
    instance = "i1",
    id: string = RADAR,
    proof: Proof = "refresh",
  ): Promise<RegisterOutcome> {
    return this.registry.register(registration({ node_id: id, instance_id: instance }), proof);
  }

  row(id = RADAR): NodeRow | undefined {
    return this.db
      .select()
      .from(knownNodes)
      .all()
      .find((r) => r.nodeId === id);
  }

  /** The names of a node's events, oldest first; of a `state` event, the state. */
  history(id = RADAR): string[] {
    return this.registry
      .history(id, 1000)
      .map(({ event, data }) => (event === "state" ? String(data["state"]) : event))
      .toReversed();
  }

  #make(): Registry {
    const bus = new Bus();
    bus.subscribe("node.>", (event) => {
      const [, id, name] = topicOf(event).split(".");
      if (event.kind === "node.state")
        this.published.push(`${id} ${event.data.previous_state}→${event.data.state}`);
      else this.events.push(`${id} ${name}`);
    });
    const { db, clock, log } = this;
    const commits = new Committer(db, log, bus);
    const registry = createRegistry({ db, commits, clock, log }, this.#options);
    registry.superseded.add((node: NodeId, current: InstanceId | null) => {
      this.superseded.push(`${node} ${current}`);
      return this.isConnected;
    });
    registry.removed.add((nodes) => void this.removed.push(...nodes));
    registry.start();
    return registry;
  }
}

/** The registration of an agent that reports only its address. */
export function registrationAt(id: NodeId, url: string): AgentRegistration {
  const full = registration({ node_id: id, instance_id: "none", agent_url: url });
  return { ...full, instance_id: null, version: null };
}
