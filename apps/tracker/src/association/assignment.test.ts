import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { assign } from "./assignment.ts";

/** The minimal sum, found by trying all assignments. */
function bruteForce(costs: readonly number[], rows: number, columns: number): number {
  const best = (row: number, taken: number): number => {
    if (row === rows) return 0;
    let least = Number.POSITIVE_INFINITY;
    for (let column = 0; column < columns; column++) {
      if ((taken & (1 << column)) !== 0) continue;
      const rest = best(row + 1, taken | (1 << column));
      least = Math.min(least, (costs[row * columns + column] ?? 0) + rest);
    }
    return least;
  };
  return best(0, 0);
}

const problem = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 2 }))
  .chain(([rows, extra]) =>
    fc.record({
      rows: fc.constant(rows),
      columns: fc.constant(rows + extra),
      costs: fc.array(fc.integer({ min: -50, max: 50 }), {
        minLength: rows * (rows + extra),
        maxLength: rows * (rows + extra),
      }),
    }),
  );

describe("assign", () => {
  test("has minimal cost, and assigns no column twice", () => {
    fc.assert(
      fc.property(problem, ({ rows, columns, costs }) => {
        const columnOfRow = assign(Float64Array.from(costs), rows, columns);
        expect(new Set(columnOfRow).size).toBe(rows);
        let sum = 0;
        for (const [row, column] of columnOfRow.entries()) {
          expect(column).toBeGreaterThanOrEqual(0);
          sum += costs[row * columns + column] ?? Number.NaN;
        }
        expect(sum).toBe(bruteForce(costs, rows, columns));
      }),
      { numRuns: 500 },
    );
  });

  test("gives up a row's cheapest column if that lowers the total", () => {
    expect([...assign(Float64Array.of(1, 2, 1, 9), 2, 2)]).toEqual([1, 0]);
  });

  test("has nothing to do without rows", () => {
    expect(assign(new Float64Array(0), 0, 3).length).toBe(0);
  });
});
