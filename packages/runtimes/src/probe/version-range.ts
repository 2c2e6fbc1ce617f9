/** Version constraints of sensors on their interpreter (`requires: ">=3.9"`). (A11) */
import semverSatisfies from "semver/functions/satisfies.js";
import validRange from "semver/ranges/valid.js";
import { coerceVersion } from "./coerce-version.ts";

/** An invalid constraint. */
export class VersionRangeError extends Error {
  readonly code = "bad_version_range";
  override readonly name = "VersionRangeError";
}

/**
 * Whether a version satisfies a constraint: an npm range (`>=3.9`, `^20`, `3.x || 4.x`), also with commas as in Python
 * (`>=3.9,<4`). An unknown version (null) satisfies only `*`. Throws a VersionRangeError for an invalid range. (A11)
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
