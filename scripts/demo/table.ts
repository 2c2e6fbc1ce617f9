/** Renders text tables of a given maximum width. Pure. */

/** A column. When the table is too wide, columns that shrink are narrowed, at most to SHRUNK_MIN. */
export interface Column {
  readonly title: string;
  readonly align?: "right";
  readonly shrinks?: true;
}

const GAP = "  ";
const SHRUNK_MIN = 8;

/** Renders a title line and a line for each row, none wider than `width`. Text that is cut ends in "…". */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): readonly string[] {
  const lines = [columns.map(({ title }) => title), ...rows.map((row) => row.map(printable))];
  const widths = columns.map((_, i) => Math.max(...lines.map((cells) => widthOf(cells[i]))));
  let excess = widths.reduce((sum, w) => sum + w, GAP.length * (columns.length - 1)) - width;
  for (const [i, { shrinks }] of columns.entries()) {
    if (shrinks !== true || excess <= 0) continue;
    const cut = Math.max(0, Math.min(excess, widths[i]! - SHRUNK_MIN));
    widths[i]! -= cut;
    excess -= cut;
  }
  return lines.map((cells) =>
    fit(
      columns
        .map(({ align }, i) => pad(fit(cells[i] ?? "", widths[i]!), widths[i]!, align))
        .join(GAP)
        .trimEnd(),
      width,
    ),
  );
}

/** Cuts `text` to at most `width` columns. */
export function fit(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  const graphemes = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
  while (graphemes.length > 0 && widthOf(graphemes.join("")) > width - 1) graphemes.pop();
  return width < 1 ? "" : `${graphemes.join("")}…`;
}

/** Replaces control characters, so that text from elsewhere cannot move the cursor. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "?");
}

function pad(text: string, width: number, align: "right" | undefined): string {
  const blanks = " ".repeat(Math.max(0, width - widthOf(text)));
  return align === "right" ? blanks + text : text + blanks;
}

function widthOf(text: string | undefined): number {
  return Bun.stringWidth(text ?? "");
}
