/** Glob patterns over ids: `*` matches any characters, `?` matches one, everything else matches itself. Used by token limits. */

/**
 * Whether `pattern` matches all of `text`, in at most O(length of pattern × length of text). After a mismatch only the last
 * `*` takes one more character, since an earlier `*` could not do better.
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
