import { describe, expect, test } from "bun:test";
import { type Column, fit, renderTable } from "./table.ts";

const COLUMNS: readonly Column[] = [
  { title: "NAME" },
  { title: "N", align: "right" },
  { title: "WHAT", shrinks: true },
];
const ROWS = [
  ["a", "7", "short"],
  ["longer", "1000", "a text that takes much more room"],
];

describe("a table", () => {
  test("is as wide as it needs to be", () => {
    expect(renderTable(COLUMNS, ROWS, 80)).toEqual([
      "NAME       N  WHAT",
      "a          7  short",
      "longer  1000  a text that takes much more room",
    ]);
  });

  test("cuts the column that shrinks, and marks the cut", () => {
    expect(renderTable(COLUMNS, ROWS, 30)).toEqual([
      "NAME       N  WHAT",
      "a          7  short",
      "longer  1000  a text that tak…",
    ]);
  });

  test("is never wider than allowed, at any width", () => {
    for (let width = 0; width < 60; width++)
      for (const line of renderTable(COLUMNS, ROWS, width))
        expect(Bun.stringWidth(line)).toBeLessThanOrEqual(width);
  });

  test("lets no control character through", () => {
    const [, row] = renderTable([{ title: "A" }], [["a\x1b[2Jb\r\n\u009b"]], 80);
    expect(row).toBe("a?[2Jb???");
  });

  test("measures wide characters by the columns they take", () => {
    expect(fit("雷達雷達", 5)).toBe("雷達…");
    expect(fit("e\u0301e\u0301e\u0301", 3)).toBe("e\u0301e\u0301e\u0301");
  });
});
