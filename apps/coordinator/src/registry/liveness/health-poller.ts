/**
 * Asks those agents regularly that told nothing but their address (`POST /api/nodes/register`): they send no heartbeats, and who
 * answers counts as heard. One round each interval, PARALLEL at a time. Those that were heard last are asked first; a round
 * that is not over when the next is due ends, so that agents that are gone hold nobody up. (R5)
 */
import { type Clock, every, type Timer } from "@fleet/daemon";
import { askHealth, isOf } from "./ask-health.ts";
import type { Node } from "../node.ts";
import type { Registry } from "../registry.ts";

const PARALLEL = 64;

/** What the rounds work with. */
export interface RoundsDeps {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly intervalMs: number;
}

/** To be started after the registry and stopped before it. */
export class HealthPoller {
  readonly #deps: RoundsDeps;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #round: Promise<unknown> | undefined;
  #isDue = false;

  constructor(deps: RoundsDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, intervalMs } = this.#deps;
    this.#timer = every(clock, intervalMs, () => void this.#next());
  }

  /** Gives up what is not answered yet. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#abort.abort();
    await this.#round;
  }

  /** A round that is under way is told to end, and followed at once. */
  async #next(): Promise<void> {
    if (this.#isDue) return;
    this.#isDue = true;
    await this.#round;
    this.#isDue = false;
    if (!this.#abort.signal.aborted) this.#round = this.#run();
  }

  async #run(): Promise<void> {
    const nodes = this.#deps.registry.list().filter(isAsked);
    const waiting = nodes.toSorted((a, b) => heardMs(b) - heardMs(a)).values();
    const ask = async (): Promise<void> => {
      for (const node of waiting) {
        if (this.#isDue || this.#abort.signal.aborted) return;
        await this.#ask(node);
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, nodes.length) }, ask));
  }

  async #ask(node: Node): Promise<void> {
    const { registry, clock } = this.#deps;
    const { row } = node;
    const health = await askHealth(clock, row.agentUrl!, this.#abort.signal);
    // By now the row may be another agent's, or gone.
    if (health === undefined || registry.get(node.id)?.row !== row || !isOf(health, row)) return;
    registry.heard(node.id);
  }
}

function isAsked({ row }: Node): boolean {
  return row.kind === "agent" && row.instanceId === null && row.agentUrl !== null;
}

function heardMs({ heardAtMs }: Node): number {
  return heardAtMs ?? Number.NEGATIVE_INFINITY;
}
