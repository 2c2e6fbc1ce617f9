/** How many nodes of each kind are known, and whether there is room for one more: whoever has a token can invent them. Used by registry.ts. (R4, R10) */
import { type Clock, type Log, LogLimiter } from "@fleet/daemon";
import type { NodeId } from "@fleet/protocol";
import type { NodeRow, RegistryOptions } from "../node.ts";

type Kind = NodeRow["kind"];

/** Node ids that may be blocked at once. */
export const BLOCKED_MAX = 10_000;

/** See the head of this file. */
export class NodeQuota {
  readonly #log: Log;
  readonly #options: RegistryOptions;
  readonly #logLimiter: LogLimiter;
  readonly #taken: Record<Kind, number> = { agent: 0, plain: 0 };

  constructor(clock: Clock, log: Log, options: RegistryOptions) {
    this.#log = log;
    this.#options = options;
    this.#logLimiter = new LogLimiter(clock);
  }

  take(kind: Kind): void {
    this.#taken[kind]++;
  }

  leave(kind: Kind): void {
    this.#taken[kind]--;
  }

  /** Whether there is none for `id`, with `others` on their way in; said in the log. Nodes of the config always have one. */
  isFull(kind: Kind, id: NodeId, others = 0): boolean {
    const { plainNodesMax, agentNodesMax, configured } = this.#options;
    const max = kind === "plain" ? plainNodesMax : agentNodesMax;
    if (this.#taken[kind] + others < max || configured?.has(id) === true) return false;
    const heldBack = this.#logLimiter.pass(kind);
    if (heldBack !== undefined)
      this.#log.warn({ node_id: id, held_back: heldBack }, `too many ${kind} nodes, node refused`);
    return true;
  }
}
