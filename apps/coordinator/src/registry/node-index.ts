/** The nodes in memory, found by id and read in the order of their ids. Used by node-tables.ts. (R8) */
import type { NodeId } from "@fleet/protocol";
import type { Node } from "./node.ts";

/**
 * A map that also knows the order of its ids. The order is sorted at the first use and maintained from then on, so a page of
 * a list costs its own length, however many nodes there are.
 */
export class NodeIndex extends Map<NodeId, Node> {
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

  /** At most `max` nodes whose ids sort after `id`, in order; `id` need not exist. Without `id`, from the first node. */
  after(id: NodeId | undefined, max: number): readonly Node[] {
    this.#order ??= [...this.keys()].toSorted((a, b) => (a < b ? -1 : 1));
    const from = id === undefined ? 0 : indexAfter(this.#order, id);
    return this.#order.slice(from, from + max).map((next) => this.get(next)!);
  }
}

/** The position of the first id that sorts after `id`. */
function indexAfter(order: readonly NodeId[], id: NodeId): number {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (order[middle]! <= id) low = middle + 1;
    else high = middle;
  }
  return low;
}
