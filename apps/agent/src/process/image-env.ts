/**
 * The environment of the image. main.ts takes it first of all: sensors get it unchanged, while it must not influence the agent
 * itself. (A10)
 */
import { type Environment, revealEnvironment } from "@fleet/daemon/environment";

export type { Environment } from "@fleet/daemon/environment";

/** Bun's fetch sends every request, with its bearer token, to the proxy that one of these names; the agent uses no proxy. */
const PROXY_VARIABLE = /^(https?|all|no)_proxy$/i;

/**
 * Returns the image's original environment and deletes from `env` the variables that would influence the agent. In a static
 * build the stub has already hidden them; in a dynamic build only this does.
 */
export function takeImageEnvironment(env: Record<string, string | undefined>): Environment {
  const image = revealEnvironment(env);
  for (const name of Object.keys(env))
    if (PROXY_VARIABLE.test(name) || !(name in image)) delete env[name];
  return image;
}
