/** Constraints that sensors put on the versions of interpreters (`requires: ">=3.9"`). (A11) */
import semverSatisfies from "semver/functions/satisfies.js";
import validRange from "semver/ranges/valid.js";
import { coerceVersion } from "./coerce-version.ts";

/** A constraint that cannot be read. */
export class VersionRangeError extends Error {
  readonly code = "bad_version_range";
  override readonly name = "VersionRangeError";
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
