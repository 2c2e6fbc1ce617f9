/**
 * The registry's tables in memory: nodes, blocks and the admission row. They change only when the committer applies a change
 * that it has written, or when the registry loads them. Shared by enrolment, removal and liveness.
 */
import type { Clock } from "@fleet/daemon";
import type { NodeId } from "@fleet/protocol";
import type { Key, Table } from "../db/commit.ts";
import { type Admission, NOTHING_ADMITTED } from "./enrolment/admission.ts";
import type { Uptime } from "./liveness/uptime.ts";
import type { BlockedRow, Node, NodeRow } from "./node.ts";
import { NodeIndex } from "./node-index.ts";
import type { NodeStore, Stored } from "./node-store.ts";
import { newNode } from "./rows.ts";

/**
 * What a change of a node reads and writes. In this order a crash in between is harmless: the epoch floor rises before a node
 * is deleted, and an id is blocked before its node is deleted. (A type, so that it has an index signature.)
 */
export type NodeKeys = {
  readonly admission: Key<Admission>;
  readonly block: Key<BlockedRow>;
  readonly node: Key<NodeRow>;
};

/** Rows in memory, and how the committer writes them. */
export class NodeTables {
  readonly nodes = new NodeIndex();
  readonly blocked = new Map<NodeId, BlockedRow>();
  admission = NOTHING_ADMITTED;
  readonly #store: NodeStore;
  readonly #clock: Clock;
  readonly #uptime: Uptime;
  readonly #keys: { [Name in keyof NodeKeys]: NodeKeys[Name]["table"] };

  constructor(store: NodeStore, clock: Clock, uptime: Uptime) {
    this.#store = store;
    this.#clock = clock;
    this.#uptime = uptime;
    this.#keys = {
      admission: this.#admissionTable(),
      block: this.#blockTable(),
      node: this.#nodeTable(),
    };
  }

  keysOf(id: NodeId): NodeKeys {
    const { admission, block, node } = this.#keys;
    return {
      admission: { table: admission, id: "" },
      block: { table: block, id },
      node: { table: node, id },
    };
  }

  /** Takes over what is on disk. No node has been heard yet. */
  load({ nodes, blocked, floors }: Stored): void {
    const counts = { agent: 0, plain: 0, blocked: blocked.length };
    for (const row of nodes) {
      this.nodes.set(row.nodeId as NodeId, newNode(row));
      counts[row.kind]++;
    }
    for (const row of blocked) this.blocked.set(row.nodeId as NodeId, row);
    this.admission = { ...counts, ...floors };
  }

  /** What a row records of the moment in which its node is heard. */
  now(): Pick<NodeRow, "lastSeen" | "heardUptime"> {
    return { lastSeen: this.#clock.nowMs(), heardUptime: Math.floor(this.#uptime.nowMs) };
  }

  /** Notes that a node was heard; its row reaches the disk with the next batch. */
  touch(node: Node): void {
    const { nowMs } = this.#uptime;
    node.heardAtMs = nowMs;
    if (node.row.publishedState !== "LIVE") node.dueMs = nowMs;
    Object.assign(node.row, this.now());
    node.dirty = true;
  }

  #admissionTable(): Table<Admission> {
    return {
      get: () => this.admission,
      write: (_, next, previous) => {
        const isSame =
          next?.epochFloor === previous?.epochFloor && next?.voidFloor === previous?.voidFloor;
        if (!isSame) this.#store.saveFloors(next!);
      },
      apply: (_, next) => {
        this.admission = next!;
      },
    };
  }

  #blockTable(): Table<BlockedRow> {
    return {
      get: (id) => this.blocked.get(id as NodeId),
      write: (id, next) => (next ? this.#store.saveBlock(next) : this.#store.deleteBlock(id)),
      apply: (id, next) =>
        void (next ? this.blocked.set(id as NodeId, next) : this.blocked.delete(id as NodeId)),
    };
  }

  #nodeTable(): Table<NodeRow> {
    return {
      get: (id) => this.nodes.get(id as NodeId)?.row,
      write: (id, next, previous) =>
        next ? this.#store.saveNode(next, previous) : this.#store.deleteNode(id),
      apply: (id, next) =>
        void (next ? this.#heard(id as NodeId, next) : this.nodes.delete(id as NodeId)),
    };
  }

  /** A row is written only when its node is heard: it registers, sends its first line, or says goodbye. */
  #heard(id: NodeId, row: NodeRow): void {
    const node: Node = this.nodes.get(id) ?? newNode(row);
    if (node.row.epoch !== row.epoch) node.counters = {};
    node.row = row;
    node.heardAtMs = this.#uptime.nowMs;
    node.dueMs = node.heardAtMs;
    this.nodes.set(id, node);
  }
}
