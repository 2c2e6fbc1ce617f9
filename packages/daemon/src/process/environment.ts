/**
 * The environment a program was started with, as it was. A static binary's stub hides the variables by which an image could
 * steer the loader or Bun (`LD_*`, `BUN_*`, `NODE_*`, `*_PROXY`, …) before either sees them: it turns the first letter of
 * their names into its control character (packages/static-elf/loader/hidden.h). Children get them back under their own
 * names. (A10, DESIGN §5)
 */

/** Variables and their values. */
export type Environment = Readonly<Record<string, string | undefined>>;

const CONTROL_LAST = 0x1a;
const UPPER = 0x40;
const LOWER = 0x60;

/** A copy of `env` in which hidden variables have their own names again. One that is there under its own name too stays hidden. */
export function revealEnvironment(env: Environment): Environment {
  const revealed: Record<string, string | undefined> = {};
  const hidden: [string, string | undefined][] = [];
  for (const [name, value] of Object.entries(env)) {
    if (isHidden(name)) hidden.push([name, value]);
    else revealed[name] = value;
  }
  for (const [name, value] of hidden) revealed[ownName(name)] ??= value;
  return revealed;
}

function isHidden(name: string): boolean {
  const first = name.charCodeAt(0);
  return first > 0 && first <= CONTROL_LAST && name.length > 1;
}

/** What is hidden begins with a capital, but for `*_proxy` in lower case throughout (hidden.h beside loader.c). */
function ownName(hidden: string): string {
  const rest = hidden.slice(1);
  const isLower = rest.endsWith("_proxy") && !/[A-Z]/.test(rest);
  return String.fromCharCode(hidden.charCodeAt(0) + (isLower ? LOWER : UPPER)) + rest;
}
