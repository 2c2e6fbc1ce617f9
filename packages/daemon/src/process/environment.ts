/**
 * Restores the environment a program was started with. The stub of a static binary hides the variables by which an image could
 * influence the loader or Bun (`LD_*`, `BUN_*`, `NODE_*`, `*_PROXY`, …): it replaces the first letter of their names by the
 * corresponding control character (packages/static-elf/loader/hidden.h). Children receive them under their real names. (A10)
 */

/** Variables and their values. */
export type Environment = Readonly<Record<string, string | undefined>>;

const CONTROL_LAST = 0x1a;
const UPPER = 0x40;
const LOWER = 0x60;

/** A copy of `env` with hidden variables under their real names, unless a variable is also set under its real name. */
export function revealEnvironment(env: Environment): Environment {
  const revealed: Record<string, string | undefined> = {};
  const hidden: [string, string | undefined][] = [];
  for (const [name, value] of Object.entries(env)) {
    if (isHidden(name)) hidden.push([name, value]);
    else revealed[name] = value;
  }
  for (const [name, value] of hidden) revealed[realName(name)] ??= value;
  return revealed;
}

function isHidden(name: string): boolean {
  const first = name.charCodeAt(0);
  return first > 0 && first <= CONTROL_LAST && name.length > 1;
}

/** Hidden names begin with an upper-case letter, except `*_proxy` in lower case (see hidden.h). */
function realName(hidden: string): string {
  const rest = hidden.slice(1);
  const isLower = rest.endsWith("_proxy") && !/[A-Z]/.test(rest);
  return String.fromCharCode(hidden.charCodeAt(0) + (isLower ? LOWER : UPPER)) + rest;
}
