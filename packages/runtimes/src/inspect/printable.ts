/** Text from strangers (program output, file names) made fit for a terminal and a one-line log. Pure. */

/** Control characters become blanks, runs of blanks one; longer than `charsMax` is cut and ends in `…`. */
export function printable(text: string, charsMax: number): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  return line.length <= charsMax ? line : `${line.slice(0, charsMax - 1)}…`;
}
