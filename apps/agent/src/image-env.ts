/**
 * The environment the image gave us. Taken once, first thing in main.ts: sensors get it as it was, while the agent itself
 * must not be steered by it. (A10, DESIGN §5)
 */

/** Variables and their values. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Bun's fetch sends everything, bearer tokens included, to the proxies these name; the agent's proxy is a matter of its config. */
const STEERING = /^(https?|all|no)_proxy$/i;

/** A copy of `env`; the variables that would steer the agent are taken out of `env` itself. */
export function takeImageEnvironment(env: Record<string, string | undefined>): Environment {
  const image = { ...env };
  for (const name of Object.keys(env)) if (STEERING.test(name)) delete env[name];
  return image;
}
