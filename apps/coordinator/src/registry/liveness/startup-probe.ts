/**
 * Asks the agents that are known from before this start for a sign of life, so that a running agent is LIVE at once and not
 * only at its next check-in. Every known node with an `agent_url` is asked once, unless it is heard before. (R2)
 */
import type { Log, Service } from "@fleet/daemon";
import type { Node } from "../node.ts";
import type { Registry } from "../registry.ts";
import type { AskDeps } from "./ask-health.ts";
import { HealthPool } from "./health-pool.ts";

/** The parts the probe works with. */
export interface ProbeDeps extends AskDeps {
  readonly registry: Registry;
  readonly log: Log;
}

/** Started after the registry and stopped before it. */
export class StartupProbe implements Service {
  readonly #deps: ProbeDeps;
  readonly #pool: HealthPool;
  #running: Promise<unknown> = Promise.resolve();

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
    this.#pool = new HealthPool(deps.registry, deps);
  }

  /** Begins to ask, without waiting for the answers. */
  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#pool.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { registry, clock, log } = this.#deps;
    const startMs = clock.monotonicMs();
    const nodes = registry.list().filter(isAddressed);
    if (nodes.length === 0) return;
    const tally = await this.#pool.ask(nodes, (node) => this.#isUnheard(node));
    const tookMs = Math.round(clock.monotonicMs() - startMs);
    log.info({ ...tally, took_ms: tookMs }, "startup probe of known agents done");
  }

  #isUnheard(node: Node): boolean {
    return this.#deps.registry.get(node.id) === node && node.heardAtMs === undefined;
  }
}

/** An answer does not revive a node that said goodbye. */
function isAddressed({ row }: Node): boolean {
  return row.agentUrl !== null && row.shutdownAt === null;
}
