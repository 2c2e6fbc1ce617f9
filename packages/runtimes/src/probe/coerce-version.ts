/** Normalises version numbers. Separate from version-range.ts because loading semver is slow. (A11) */

/**
 * The raw version of an interpreter as `major.minor.patch`: `3.13.0rc1` → `3.13.0`, `5.4` → `5.4.0`; null without a number.
 * Java's old numbering scheme is converted to the new one: `1.8.0_392` → `8.0.392`.
 */
export function coerceVersion(raw: string): string | null {
  const java = /^1\.(\d+)\.0_(\d+)/.exec(raw);
  if (java !== null) return `${java[1]}.0.${java[2]}`;
  const numbers = /(?:^|\D)(\d{1,15})(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?(?!\d)/.exec(raw);
  return numbers === null
    ? null
    : numbers
        .slice(1, 4)
        .map((number) => Number(number ?? 0))
        .join(".");
}
