/** Turns any name a person may write for a runtime into the one Fleet uses. Pure; used by all three tiers and by sensor configs. (A5) */
import { INTERPRETERS } from "./probe/interpreters.ts";

/** What `canonicalRuntime` needs to know of an interpreter beyond the built-in ones. */
export interface RuntimeNames {
  readonly name: string;
  readonly aliases?: readonly string[] | undefined;
}

/** The runtime of sensors that are programs of their own. It is never detected, only named. (A6) */
export const NATIVE = "native";

const BUILT_IN = namesToCanonical(INTERPRETERS);

/**
 * `nodejs` → `node`, ` Python3 ` → `python`, `native` → `native`; undefined for a name nobody knows.
 * Case and surrounding blanks do not matter. `extra` are the interpreters of the config file, whose names come first. (A5)
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
  // A name proper wins over another one's alias.
  for (const { name } of interpreters) names.set(name.toLowerCase(), name);
  return names;
}
