/** The nodes in memory, to be found by id and read in the order of their ids. Used by registry.ts. (R8) */
import type { NodeId } from "@fleet/protocol";
import type { Node } from "./node.ts";

/**
 * A map that also knows its order. That is made once, when it is first asked for, and kept from there on: a page of a list
 * costs its own length, however many nodes there are.
 */
export class Nodes extends Map<NodeId, Node> {
  #order: NodeId[] | undefined;

  override set(id: NodeId, node: Node): this {
    if (this.#order !== undefined && !this.has(id))
      this.#order.splice(indexAfter(this.#order, id), 0, id);
    return super.set(id, node);
  }

  override delete(id: NodeId): boolean {
    if (this.#order !== undefined && this.has(id))
      this.#order.splice(indexAfter(this.#order, id) - 1, 1);
    return super.delete(id);
  }

  /** By id: at most `max` of those behind `id`, which need not be there; without `id` from the first. */
  after(id: NodeId | undefined, max: number): readonly Node[] {
    this.#order ??= [...this.keys()].toSorted((a, b) => (a < b ? -1 : 1));
    const from = id === undefined ? 0 : indexAfter(this.#order, id);
    return this.#order.slice(from, from + max).map((next) => this.get(next)!);
  }
}

/** Where the ids behind `id` begin. */
function indexAfter(order: readonly NodeId[], id: NodeId): number {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (order[middle]! <= id) low = middle + 1;
    else high = middle;
  }
  return low;
}
