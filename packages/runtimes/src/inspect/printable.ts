/** Makes untrusted text (program output, file names) safe for a terminal and a one-line log. Pure. */

/** Replaces control characters and runs of blanks with one blank; cuts text longer than `charsMax` and ends it with `…`. */
export function printable(text: string, charsMax: number): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  return line.length <= charsMax ? line : `${line.slice(0, charsMax - 1)}…`;
}
