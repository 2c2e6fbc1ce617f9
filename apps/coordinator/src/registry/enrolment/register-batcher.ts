/**
 * Agents that register in one turn of the event loop, so that they wait for the disk together: a synced commit takes
 * milliseconds, of one row as of hundreds. Made and emptied by the registry. (R1)
 */
import type { NodeId } from "@fleet/protocol";
import type { AgentRegistration, Proof, RegisterOutcome } from "../node.ts";

/** Agents on their way in at once; the next is told to come back. */
export const ARRIVALS_MAX = 512;

/** One agent that wants in. */
export interface Arrival {
  readonly registration: AgentRegistration;
  readonly proof: Proof;
}

interface Waiting extends Arrival {
  readonly resolve: (outcome: RegisterOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** See the head of this file. */
export class RegisterBatcher {
  readonly #admit: (batcher: readonly Arrival[]) => readonly RegisterOutcome[];
  #waiting = new Map<NodeId, Waiting>();

  /** `admit` answers for each, in order, or throws for all. They are of different nodes. */
  constructor(admit: (batcher: readonly Arrival[]) => readonly RegisterOutcome[]) {
    this.#admit = admit;
  }

  /** `busy` when there are ARRIVALS_MAX, or one of that node is under way. Rejects with what the database throws. */
  add(arrival: Arrival): Promise<RegisterOutcome> {
    const id = arrival.registration.node_id;
    if (this.#waiting.size >= ARRIVALS_MAX || this.#waiting.has(id))
      return Promise.resolve({ at: "busy" });
    if (this.#waiting.size === 0) setImmediate(() => this.#flush());
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { ...arrival, resolve, reject });
    });
  }

  /** These nodes are removed: who has shown what may be void by now has to come again. */
  turnBack(ids: ReadonlySet<NodeId>): void {
    for (const id of ids) {
      this.#waiting.get(id)?.resolve({ at: "busy" });
      this.#waiting.delete(id);
    }
  }

  #flush(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting = new Map();
    try {
      const outcomes = this.#admit(waiting);
      for (const [i, { resolve }] of waiting.entries()) resolve(outcomes[i]!);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
  }
}
