/** Versions of interpreters as semver, and the constraints sensors put on them (`requires: ">=3.9"`). (A11) */
import coerce from "semver/functions/coerce.js";
import semverSatisfies from "semver/functions/satisfies.js";
import validRange from "semver/ranges/valid.js";

/** A constraint that cannot be read. */
export class VersionRangeError extends Error {
  readonly code = "bad_version_range";
  override readonly name = "VersionRangeError";
}

/**
 * The raw version of an interpreter as `major.minor.patch`: `3.13.0rc1` → `3.13.0`, `5.4` → `5.4.0`; null when there is no number in it.
 * Java's old numbering is brought in line with its new one: `1.8.0_392` → `8.0.392`.
 */
export function coerceVersion(raw: string): string | null {
  const java = /^1\.(\d+)\.0_(\d+)/.exec(raw);
  return java === null ? (coerce(raw)?.version ?? null) : `${java[1]}.0.${java[2]}`;
}

/**
 * Whether a version meets a constraint: npm ranges (`>=3.9`, `^20`, `3.x || 4.x`), and commas as in Python's (`>=3.9,<4`).
 * A version nobody knows (null) meets only `*`. Throws a VersionRangeError when the range is not one. (A11)
 */
export function satisfies(version: string | null, range: string): boolean {
  const npmRange = validRange(range.replaceAll(",", " "));
  if (npmRange === null)
    throw new VersionRangeError(
      `"${range}" is not a version range; write one like ">=3.9" or ">=3.9 <4"`,
    );
  if (npmRange === "*") return true;
  const coerced = version === null ? null : coerceVersion(version);
  return coerced !== null && semverSatisfies(coerced, npmRange);
}
