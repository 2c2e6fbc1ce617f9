/**
 * Tells two processes that fight over a node from one that is started again and again. Either way instance follows instance;
 * but in a fight the replaced one is alive: it had a connection open when it was replaced, or asks again later. Both come of a
 * copied state directory, or of a name that was given twice, under supervisors that start again what ends with exit code 69.
 *
 * Three such takeovers within 5 minutes are a contest: from then on the node stays with the instance that has it, as long as
 * that one is LIVE and others have tried within the last 5 minutes. In memory alone: a restart of the coordinator lets them
 * fight for another three rounds. Used by registry.ts. (A14, R9)
 */
import type { Clock, Log } from "@fleet/daemon";
import type { InstanceId, NodeId } from "@fleet/protocol";

const WINDOW_MS = 5 * 60_000;
const TAKEOVERS_MAX = 3;
/** Nodes that are kept in mind; beyond, the one that was longest quiet is let go. */
const NODES_MAX = 10_000;
const CONTESTED =
  "two processes keep taking this node from each other; it stays with the one that has it. Was a state directory copied, or a name given twice?";

interface Contest {
  /** Instances that were replaced while they were alive, and when that showed, monotonic ms; at most TAKEOVERS_MAX. */
  readonly ousted: Map<InstanceId, number>;
  /** Monotonic ms. */
  heldUntilMs: number;
}

/** See the head of this file. */
export class TakeoverGuard {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #takeovers = new Map<NodeId, Contest>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** `instance`, which was replaced, has shown that it lives. Whether that makes a contest of it. */
  lives(node: NodeId, instance: InstanceId): boolean {
    const nowMs = this.#clock.monotonicMs();
    const contest: Contest = this.#takeovers.get(node) ?? { ousted: new Map(), heldUntilMs: nowMs };
    // To the end: it is the one that was quiet for the shortest time.
    this.#takeovers.delete(node);
    this.#takeovers.set(node, contest);
    const [longestQuiet] = this.#takeovers.keys();
    if (this.#takeovers.size > NODES_MAX) this.#takeovers.delete(longestQuiet!);
    const { ousted } = contest;
    for (const [id, atMs] of ousted) if (nowMs - atMs >= WINDOW_MS) ousted.delete(id);
    if (ousted.has(instance) || contest.heldUntilMs > nowMs) return false;
    ousted.set(instance, nowMs);
    if (ousted.size < TAKEOVERS_MAX) return false;
    contest.heldUntilMs = nowMs + WINDOW_MS;
    this.#log.warn({ node_id: node }, CONTESTED);
    return true;
  }

  /** Whether the node is to stay with the instance that has it. One that asks makes that last for another 5 minutes. */
  refuses(node: NodeId): boolean {
    const nowMs = this.#clock.monotonicMs();
    const contest = this.#takeovers.get(node);
    if (contest === undefined || contest.heldUntilMs <= nowMs) return false;
    contest.heldUntilMs = nowMs + WINDOW_MS;
    return true;
  }

  /** An operator has decided, or the node has gone. */
  forget(node: NodeId): void {
    this.#takeovers.delete(node);
  }
}
