import { expect, test } from "bun:test";
import type { NodeId } from "@fleet/protocol";
import fc from "fast-check";
import { nodeId } from "../testing.ts";
import type { Node } from "./node.ts";
import { NodeIndex } from "./node-index.ts";

const ids = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,2}$/).map(nodeId);
const steps = fc.array(fc.record({ id: ids, what: fc.constantFrom("set", "delete", "read") }), {
  maxLength: 60,
});

test("nodes are listed in the order of their ids, after any id, whatever was added and removed in between (R8)", () => {
  fc.assert(
    fc.property(steps, ids, (all, from) => {
      const nodes = new NodeIndex();
      const expected = new Set<string>();
      for (const { id, what } of all) {
        if (what === "read") nodes.after(undefined, 1);
        else if (what === "set") nodes.set(id, { id } as Node);
        else nodes.delete(id);
        if (what === "set") expected.add(id);
        if (what === "delete") expected.delete(id);
        const sorted = [...expected].toSorted((a, b) => (a < b ? -1 : 1));
        if (what !== "read") continue;
        const idsOf = (after: NodeId | undefined, max: number): string[] =>
          nodes.after(after, max).map((n) => n.id);
        expect(idsOf(undefined, Number.POSITIVE_INFINITY)).toEqual(sorted);
        const behind = sorted.filter((other) => other > from);
        expect(idsOf(from, 2)).toEqual(behind.slice(0, 2));
      }
    }),
  );
});
