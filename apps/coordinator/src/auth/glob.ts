/** Patterns over ids: `*` stands for any characters, `?` for one, anything else for itself. */

/**
 * Whether `text` matches, in time proportional to the product of both lengths at worst, whatever the pattern. After a
 * mismatch only the last `*` is tried again, one character further on: an earlier one could not do better.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let star = -1;
  let starText = 0;
  for (let t = 0; t < text.length;) {
    if (pattern[p] === "*") {
      star = p++;
      starText = t;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++starText;
    } else {
      return false;
    }
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
