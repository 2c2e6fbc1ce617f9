/** Medians and quantiles, and how a bench prints its figures. */

/** Returns the median; of an even count, the upper of the two middle values. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Returns the quantile of sorted values; `share` is from 0 to 1. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

/** Formats several runs as `median (least … most)`. */
export function spread(values: readonly number[], digits = 2): string {
  const middle = median(values).toFixed(digits);
  if (values.length < 2) return middle;
  return `${middle} (${Math.min(...values).toFixed(digits)} … ${Math.max(...values).toFixed(digits)})`;
}

/** Formats rows as padded columns: the first is left-aligned, the others right-aligned. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  "),
    )
    .join("\n");
}

/** Formats an aim and whether it is reached: `value` must be at least `least`. */
export function aimOfRatio(what: string, value: number, least: number): string {
  const verdict = value >= least ? "reached" : "NOT reached";
  return `aim: ${what} ≥ ${least} ×: ${value.toFixed(2)} × — ${verdict}`;
}
