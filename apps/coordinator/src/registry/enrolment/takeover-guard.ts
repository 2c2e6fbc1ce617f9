/**
 * Tells two live processes that share one node from one process that restarts again and again. In both cases instance
 * follows instance, but a live instance that was replaced still had a connection open, or asks again later. The usual cause
 * is a copied state directory, or one name used twice, under supervisors that restart an agent which exits with code 69.
 *
 * TAKEOVERS_MAX such takeovers within WINDOW_MS make the node contested: it stays with the instance that has it, as long as
 * that instance is LIVE and others have tried within the last WINDOW_MS. Kept in memory only: after a restart of the
 * coordinator the takeovers are counted from zero. (A14, R9)
 */
import type { Clock, Log } from "@fleet/daemon";
import type { InstanceId, NodeId } from "@fleet/protocol";

const WINDOW_MS = 5 * 60_000;
const TAKEOVERS_MAX = 3;
/** Nodes that are tracked; beyond, the one without a takeover for the longest time is dropped. */
const NODES_MAX = 10_000;
const CONTESTED =
  "two processes keep taking over this node from each other; the current one keeps it. Was a state directory copied, or a name used twice?";

interface Contest {
  /** Instances that were alive when they were replaced, and when that was noticed, monotonic ms; at most TAKEOVERS_MAX. */
  readonly ousted: Map<InstanceId, number>;
  /** Monotonic ms. */
  heldUntilMs: number;
}

/** Counts the takeovers of each node. */
export class TakeoverGuard {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #contests = new Map<NodeId, Contest>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Notes that `instance`, which was replaced, is alive. Returns whether the node has become contested by that. */
  noteAlive(node: NodeId, instance: InstanceId): boolean {
    const nowMs = this.#clock.monotonicMs();
    const contest: Contest = this.#contests.get(node) ?? { ousted: new Map(), heldUntilMs: nowMs };
    // Reinserted, so that the first entry is the one that has been quiet for the longest time.
    this.#contests.delete(node);
    this.#contests.set(node, contest);
    const [longestQuiet] = this.#contests.keys();
    if (this.#contests.size > NODES_MAX) this.#contests.delete(longestQuiet!);
    const { ousted } = contest;
    for (const [id, atMs] of ousted) if (nowMs - atMs >= WINDOW_MS) ousted.delete(id);
    if (ousted.has(instance) || contest.heldUntilMs > nowMs) return false;
    ousted.set(instance, nowMs);
    if (ousted.size < TAKEOVERS_MAX) return false;
    contest.heldUntilMs = nowMs + WINDOW_MS;
    this.#log.warn({ node_id: node }, CONTESTED);
    return true;
  }

  /** Whether the node is contested. */
  isContested(node: NodeId): boolean {
    return (this.#contests.get(node)?.heldUntilMs ?? 0) > this.#clock.monotonicMs();
  }

  /** Notes that another instance tried to take over a contested node, which stays contested for another WINDOW_MS. */
  prolong(node: NodeId): void {
    const contest = this.#contests.get(node);
    if (contest !== undefined) contest.heldUntilMs = this.#clock.monotonicMs() + WINDOW_MS;
  }

  /** Forgets a node that was removed. */
  forget(node: NodeId): void {
    this.#contests.delete(node);
  }
}
