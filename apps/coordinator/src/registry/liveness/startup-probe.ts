/**
 * Asks the agents that are known from before this start for a sign of life, so that who is there is LIVE at once and not at
 * its next check-in. Every known node with an `agent_url` is asked once, PARALLEL at a time; who has been heard meanwhile is
 * not asked. (R2)
 */
import type { Clock, Log } from "@fleet/daemon";
import { askHealth, isOf } from "./ask-health.ts";
import type { Node } from "../node.ts";
import type { Registry } from "../registry.ts";

const PARALLEL = 64;

/** What the probe works with. */
export interface ProbeDeps {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
}

/** To be started after the registry and stopped before it. */
export class StartupProbe {
  readonly #deps: ProbeDeps;
  readonly #abort = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
  }

  /** Begins to ask; does not wait for the answers. */
  start(): void {
    this.#running = this.#run();
  }

  /** Gives up what is not answered yet. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { registry, clock, log } = this.#deps;
    const startMs = clock.monotonicMs();
    const nodes = registry.list().filter(isAddressed);
    if (nodes.length === 0) return;
    const waiting = nodes.values();
    const outcome = { asked: 0, answered: 0 };
    const ask = async (): Promise<void> => {
      for (const node of waiting) {
        if (this.#abort.signal.aborted) return;
        if (!this.#isAwaited(node)) continue;
        outcome.asked++;
        if (await this.#ask(node)) outcome.answered++;
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, ask));
    const tookMs = Math.round(clock.monotonicMs() - startMs);
    log.info({ ...outcome, took_ms: tookMs }, "known agents asked for a sign of life");
  }

  /** Whether it answered, as itself, and was not heard or replaced meanwhile. */
  async #ask(node: Node): Promise<boolean> {
    const { registry, clock } = this.#deps;
    const health = await askHealth(clock, node.row.agentUrl!, this.#abort.signal);
    // By now it may be another instance's row.
    if (health === undefined || !this.#isAwaited(node) || !isOf(health, node.row)) return false;
    registry.heard(node.id);
    return true;
  }

  #isAwaited(node: Node): boolean {
    return this.#deps.registry.get(node.id) === node && node.heardAtMs === undefined;
  }
}

/** One that said goodbye is not revived by an answer. */
function isAddressed({ row }: Node): boolean {
  return row.agentUrl !== null && row.shutdownAt === null;
}
