/**
 * The environment the image gave us. Taken once, first thing in main.ts: sensors get it as it was, while the agent itself
 * must not be steered by it. (A10, DESIGN §5)
 */

import { type Environment, revealEnvironment } from "@fleet/daemon/environment";

export type { Environment } from "@fleet/daemon/environment";

/** Bun's fetch sends everything, bearer tokens included, to the proxies these name; the agent's proxy is a matter of its config. */
const STEERING = /^(https?|all|no)_proxy$/i;

/**
 * The image's environment as it was; the variables that would steer the agent are taken out of `env` itself. In a static
 * build the stub has hidden them already; elsewhere this has to do.
 */
export function takeImageEnvironment(env: Record<string, string | undefined>): Environment {
  const image = revealEnvironment(env);
  for (const name of Object.keys(env))
    if (STEERING.test(name) || !(name in image)) delete env[name];
  return image;
}
