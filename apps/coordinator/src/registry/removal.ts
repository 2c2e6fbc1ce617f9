/**
 * How nodes leave: by a goodbye, by an operator who removes or blocks them, or by age. On disk before it is answered. Called by
 * the registry. (R4, R5)
 */
import { type Clock, Hook } from "@fleet/daemon";
import type { NodeId } from "@fleet/protocol";
import type { NodeEvent } from "../bus.ts";
import type { Committer, Decision, RowsOf } from "../db/commit.ts";
import { type Admission, BLOCKED_MAX, recount } from "./enrolment/admission.ts";
import type { Enrolment } from "./enrolment/enrolment.ts";
import { floorsAfter, type RemovalCause } from "./enrolment/epochs.ts";
import type { TakeoverGuard } from "./enrolment/takeover-guard.ts";
import { stateEvents } from "./node-event.ts";
import type { NodeKeys, NodeTables } from "./node-tables.ts";
import type { BlockedRow, Node, NodeRow } from "./node.ts";
import { shutdownRow } from "./rows.ts";

/** The parts removal works with. */
export interface RemovalDeps {
  readonly clock: Clock;
  readonly commits: Committer;
  readonly tables: NodeTables;
  readonly enrolment: Enrolment;
  readonly takeovers: TakeoverGuard;
}

type Change<T> = Decision<NodeKeys, T>;
type Rows = RowsOf<NodeKeys>;

/** Removes and blocks nodes. Every method rejects with the database's error. */
export class Removal {
  /** Called with nodes that were removed: nobody may speak for them until they enter again. */
  readonly removed = new Hook<[ReadonlySet<NodeId>]>();
  readonly #deps: RemovalDeps;

  constructor(deps: RemovalDeps) {
    this.#deps = deps;
  }

  /** Marks a node as SHUTDOWN, unless another instance registers in the same turn. */
  async deregister(id: NodeId): Promise<void> {
    const { commits, tables } = this.#deps;
    const epoch = tables.nodes.get(id)?.row.epoch;
    const now = tables.now();
    await commits.commit(tables.keysOf(id), ({ node }): Change<void> => {
      if (node === undefined || node.epoch !== epoch) return { outcome: undefined };
      const events = stateEvents(id, now.lastSeen, "SHUTDOWN", node.publishedState);
      return { outcome: undefined, next: { node: shutdownRow(node, now) }, events };
    });
  }

  /** Removes a node; false when it is not known. It may enter again, with a higher epoch. */
  async remove(id: NodeId): Promise<boolean> {
    const atMs = this.#deps.clock.nowMs();
    this.#deps.enrolment.turnBack(id);
    const isRemoved = await this.#commit(id, (rows) => removed(rows, "operator", atMs));
    if (isRemoved) this.#afterRemoval([id]);
    return isRemoved;
  }

  /** Removes nodes that have aged out, except those that are heard before they are removed. */
  async forget(nodes: readonly Node[]): Promise<void> {
    const atMs = this.#deps.clock.nowMs();
    const results = await Promise.allSettled(
      nodes.map(async ({ id, row, row: { heardUptime } }) => {
        const isRemoved = await this.#commit(id, (rows) => {
          const isHeard = rows.node !== row || row.heardUptime !== heardUptime;
          return isHeard ? { outcome: false } : removed(rows, "aged_out", atMs);
        });
        return isRemoved ? [id] : [];
      }),
    );
    const ids = results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
    this.#afterRemoval(ids);
  }

  /** Blocks an id and removes its node, if there is one; false when BLOCKED_MAX ids are blocked. */
  async block(id: NodeId): Promise<boolean> {
    const row: BlockedRow = { nodeId: id, blockedAt: this.#deps.clock.nowMs() };
    this.#deps.enrolment.turnBack(id);
    const { isBlocked, isRemoved } = await this.#commit(id, (rows) => blocked(rows, row));
    if (isRemoved) this.#afterRemoval([id]);
    return isBlocked;
  }

  /** Lets an id be used again; false when it is not blocked. */
  unblock(id: NodeId): Promise<boolean> {
    const atMs = this.#deps.clock.nowMs();
    return this.#commit(id, ({ block, admission }): Change<boolean> => {
      if (block === undefined) return { outcome: false };
      return {
        outcome: true,
        next: { block: undefined, admission: { ...admission!, blocked: admission!.blocked - 1 } },
        events: [{ kind: "node.unblocked", nodeId: id, atMs, data: {} }],
      };
    });
  }

  #commit<T>(id: NodeId, decide: (rows: Rows) => Change<T>): Promise<T> {
    return this.#deps.commits.commit(this.#deps.tables.keysOf(id), decide);
  }

  #afterRemoval(ids: readonly NodeId[]): void {
    if (ids.length === 0) return;
    for (const id of ids) this.#deps.takeovers.forget(id);
    this.removed.call(new Set(ids));
  }
}

function removed({ node, admission }: Rows, cause: RemovalCause, atMs: number): Change<boolean> {
  if (node === undefined) return { outcome: false };
  const data = { cause };
  return {
    outcome: true,
    next: { admission: withoutNode(admission!, node, cause), node: undefined },
    events: [{ kind: "node.removed", nodeId: node.nodeId as NodeId, atMs, data }],
  };
}

function blocked(
  rows: Rows,
  row: BlockedRow,
): Change<{ readonly isBlocked: boolean; readonly isRemoved: boolean }> {
  if (rows.block !== undefined) return { outcome: { isBlocked: true, isRemoved: false } };
  if (rows.admission!.blocked >= BLOCKED_MAX)
    return { outcome: { isBlocked: false, isRemoved: false } };
  const { outcome: isRemoved, next, events = [] } = removed(rows, "operator", row.blockedAt);
  const admission = next?.admission ?? rows.admission!;
  const about = { nodeId: row.nodeId as NodeId, atMs: row.blockedAt };
  const event: NodeEvent = { ...about, kind: "node.blocked", data: {} };
  return {
    outcome: { isBlocked: true, isRemoved },
    next: { ...next, block: row, admission: { ...admission, blocked: admission.blocked + 1 } },
    events: [...events, event],
  };
}

function withoutNode(admission: Admission, row: NodeRow, cause: RemovalCause): Admission {
  return { ...recount(admission, row, undefined), ...floorsAfter(admission, row, cause) };
}
