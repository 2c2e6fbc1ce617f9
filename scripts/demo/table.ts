/** Text tables that keep to a width. Pure. */

/** A column. One that shrinks gives up its width, down to SHRUNK_MIN, when the table is too wide. */
export interface Column {
  readonly title: string;
  readonly align?: "right";
  readonly shrinks?: true;
}

const GAP = "  ";
const SHRUNK_MIN = 8;

/** Title line and one line for each row, none wider than `width`; what does not fit ends in "…". */
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
    const given = Math.max(0, Math.min(excess, widths[i]! - SHRUNK_MIN));
    widths[i]! -= given;
    excess -= given;
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

/** `text` in at most `width` columns. */
export function fit(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  const graphemes = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
  while (graphemes.length > 0 && widthOf(graphemes.join("")) > width - 1) graphemes.pop();
  return width < 1 ? "" : `${graphemes.join("")}…`;
}

/** What may come from elsewhere must not move the cursor. */
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
