/** Maps the names people write for a runtime to the canonical one. Pure; used by all three tiers and by sensor configs. (A5) */
import { INTERPRETERS } from "./interpreters.ts";

/** The names of an interpreter that is not built in. */
export interface RuntimeNames {
  readonly name: string;
  readonly aliases?: readonly string[] | undefined;
}

/** The runtime of sensors that are executables themselves. It is never detected, only named in a config or variable. (A6) */
export const NATIVE = "native";

const BUILT_IN = namesToCanonical(INTERPRETERS);

/**
 * `nodejs` → `node`, ` Python3 ` → `python`, `native` → `native`; undefined for an unknown name.
 * Ignores case and surrounding blanks. `extra` are the interpreters of the config file; their names take precedence. (A5)
 */
export function canonicalRuntime(
  name: string,
  extra: readonly RuntimeNames[] = [],
): string | undefined {
  const key = name.trim().toLowerCase();
  if (key === NATIVE) return NATIVE;
  const own = extra.length === 0 ? undefined : namesToCanonical(extra).get(key);
  return own ?? BUILT_IN.get(key);
}

function namesToCanonical(interpreters: readonly RuntimeNames[]): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const { name, aliases } of interpreters) {
    for (const alias of aliases ?? []) names.set(alias.trim().toLowerCase(), name);
  }
  // A canonical name takes precedence over another interpreter's alias.
  for (const { name } of interpreters) names.set(name.toLowerCase(), name);
  return names;
}
