/**
 * Builds the environment of a sensor: the image's variables without the agent's secrets, plus the variables that name its node.
 * FLEET_PACKS_DIR and FLEET_RUNTIME_ENVS_DIR are not given defaults, because a default path that does not exist would only fail
 * later. (A10)
 *
 * This does not stop a sensor with the agent's uid from reading the agent's files, a token file and the state directory
 * included. Where that matters, run sensors under another uid (`uid:`), or pass the token to the agent in a variable.
 */
import type { NodeId, SensorName } from "@fleet/protocol";
import type { Environment } from "../process/image-env.ts";

/** `runtimes` is the value of FLEET_AGENT_RUNTIMES if the image does not set it. */
export interface SensorEnvironmentOptions {
  readonly image: Environment;
  readonly sensor: SensorName;
  readonly nodeId: NodeId;
  readonly coordinatorUrl: string;
  readonly runtimes: string;
  /** The enrolment tokens: a variable with one of them under any other name is removed, too. */
  readonly secrets: readonly string[];
  /** The sensor's `env:`. */
  readonly declared: Readonly<Record<string, string>>;
  /** The directory of its virtual environment, if it has one. (A9) */
  readonly virtualEnv: string | undefined;
}

/** FLEET_ENROLL_TOKEN and its variants with `_FILE`, `_PREVIOUS` and so on. */
const SECRET_PREFIX = "FLEET_ENROLL_TOKEN";
/** Matches a list with at least one name; any other counts as unset. (A5) */
const NAMES_ANY = /[^\s,]/;
/** A shorter secret is only compared with whole values, because as a part it could occur by chance. */
const SECRET_PART_LENGTH_MIN = 8;

/**
 * The complete environment of one sensor. Variables that the sensor declares replace those of the image, even with a secret as
 * value, because the author of the config wrote them; they never replace the variables that name its node.
 */
export function sensorEnvironment(options: SensorEnvironmentOptions): Record<string, string> {
  const { image, secrets, declared, virtualEnv } = options;
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(image))
    if (value !== undefined && !name.startsWith(SECRET_PREFIX) && !holdsSecret(value, secrets))
      env[name] = value;
  if (!NAMES_ANY.test(env["FLEET_AGENT_RUNTIMES"] ?? ""))
    env["FLEET_AGENT_RUNTIMES"] = options.runtimes;
  Object.assign(env, declared);
  if (virtualEnv !== undefined) activate(env, virtualEnv);
  return {
    ...env,
    FLEET_API_URL: options.coordinatorUrl,
    FLEET_NODE_ID: options.nodeId,
    FLEET_SENSOR: options.sensor,
  };
}

/** Does what the `activate` script of a virtual environment does, so that child programs run in it, too. */
function activate(env: Record<string, string>, virtualEnv: string): void {
  const { PATH } = env;
  env["VIRTUAL_ENV"] = virtualEnv;
  env["PATH"] =
    PATH === undefined || PATH === "" ? `${virtualEnv}/bin` : `${virtualEnv}/bin:${PATH}`;
  delete env["PYTHONHOME"];
}

function holdsSecret(value: string, secrets: readonly string[]): boolean {
  return secrets.some(
    (secret) =>
      value === secret || (secret.length >= SECRET_PART_LENGTH_MIN && value.includes(secret)),
  );
}
