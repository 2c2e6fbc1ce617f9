/**
 * Regularly asks the agents that registered only an address (`POST /api/nodes/register`) for a sign of life: they send no
 * heartbeats, and one that answers counts as heard. There is one round each interval, which asks the nodes heard last first;
 * a round that is not over when the next is due ends, so that agents that are gone delay no other. (R5)
 */
import { every, type Service, type Timer } from "@fleet/daemon";
import type { Node } from "../node.ts";
import type { Registry } from "../registry.ts";
import type { AskDeps } from "./ask-health.ts";
import { HealthPool } from "./health-pool.ts";

/** The parts the poller works with. */
export interface PollerDeps extends AskDeps {
  readonly registry: Registry;
  readonly intervalMs: number;
}

/** Started after the registry and stopped before it. */
export class HealthPoller implements Service {
  readonly #deps: PollerDeps;
  readonly #pool: HealthPool;
  #timer: Timer | undefined;
  #round: Promise<unknown> | undefined;
  /** Whether the next round waits for the current one to end. */
  #isDue = false;

  constructor(deps: PollerDeps) {
    this.#deps = deps;
    this.#pool = new HealthPool(deps.registry, deps);
  }

  start(): void {
    const { clock, intervalMs } = this.#deps;
    this.#timer = every(clock, intervalMs, () => void this.#next());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#pool.stop();
    await this.#round;
  }

  async #next(): Promise<void> {
    if (this.#isDue) return;
    this.#isDue = true;
    await this.#round;
    this.#isDue = false;
    if (!this.#pool.isStopped) this.#round = this.#pool.ask(this.#nodes(), () => true);
  }

  /** The nodes of a round. Yields no more once the next round is due. */
  *#nodes(): Generator<Node> {
    const nodes = this.#deps.registry.list().filter(isPolled);
    for (const node of nodes.toSorted((a, b) => heardMs(b) - heardMs(a))) {
      if (this.#isDue) return;
      yield node;
    }
  }
}

function isPolled({ row }: Node): boolean {
  return row.kind === "agent" && row.instanceId === null && row.agentUrl !== null;
}

function heardMs({ heardAtMs }: Node): number {
  return heardAtMs ?? Number.NEGATIVE_INFINITY;
}
