/**
 * Asks many nodes for a sign of life, at most PARALLEL at a time. A node that answers as itself counts as heard. Used by the
 * startup probe and the health poller. (R2, R5)
 */
import type { Node } from "../node.ts";
import type { Registry } from "../registry.ts";
import { type AskDeps, askHealth, isOf } from "./ask-health.ts";

const PARALLEL = 64;

/** How many nodes were asked, and how many of them counted as heard. */
export interface HealthTally {
  asked: number;
  answered: number;
}

/** Can be stopped once. */
export class HealthPool {
  readonly #registry: Registry;
  readonly #deps: AskDeps;
  readonly #abort = new AbortController();

  constructor(registry: Registry, deps: AskDeps) {
    this.#registry = registry;
    this.#deps = deps;
  }

  get isStopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Gives up the questions that are not answered yet, and asks no more. */
  stop(): void {
    this.#abort.abort();
  }

  /**
   * Asks each node that has an address, in order. `isWanted` is looked at before a node is asked and again when it has
   * answered.
   */
  async ask(nodes: Iterable<Node>, isWanted: (node: Node) => boolean): Promise<HealthTally> {
    const tally = { asked: 0, answered: 0 };
    const waiting = nodes[Symbol.iterator]();
    const work = async (): Promise<void> => {
      for (let next = waiting.next(); next.done !== true; next = waiting.next()) {
        if (this.isStopped) return;
        if (!isWanted(next.value)) continue;
        tally.asked++;
        if (await this.#isAnswering(next.value, isWanted)) tally.answered++;
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    return tally;
  }

  async #isAnswering(node: Node, isWanted: (node: Node) => boolean): Promise<boolean> {
    const { row } = node;
    if (row.agentUrl === null) return false;
    const health = await askHealth(this.#deps, row.agentUrl, this.#abort.signal);
    // By now the node may be removed, or another instance's.
    const isSame = this.#registry.get(node.id)?.row === row && isWanted(node);
    if (health === undefined || !isSame || !isOf(health, row)) return false;
    this.#registry.heard(node.id);
    return true;
  }
}
