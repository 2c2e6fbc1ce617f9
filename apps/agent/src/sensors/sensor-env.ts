/**
 * What a sensor finds in its environment: the image's own variables as they were, less the agent's secrets, plus what ties
 * it to its node. FLEET_PACKS_DIR and FLEET_RUNTIME_ENVS_DIR are the image's or the sensor's to set; where nobody does they
 * stay unset, since a path that is not there would only be found out later. (A10)
 *
 * What this does not protect against: a sensor of the agent's uid may read the files the agent may read, a token file and
 * the state directory among them. Run sensors under another uid (`uid:`), or give the agent its token in a variable, where
 * that matters.
 */
import type { NodeId, SensorName } from "@fleet/protocol";
import type { Environment } from "../process/image-env.ts";

/** `runtimes` is the value of FLEET_AGENT_RUNTIMES for images that set none. */
export interface SensorEnvironmentOptions {
  readonly image: Environment;
  readonly sensor: SensorName;
  readonly nodeId: NodeId;
  readonly coordinatorUrl: string;
  readonly runtimes: string;
  /** The enrolment tokens: a variable that holds one of them under another name is as secret. */
  readonly secrets: readonly string[];
  /** `env:` of the sensor's config. */
  readonly declared: Readonly<Record<string, string>>;
  /** The directory of the virtual environment it runs in, if any. (A9) */
  readonly virtualEnv: string | undefined;
}

/** FLEET_ENROLL_TOKEN, its `_FILE`, `_PREVIOUS` and whatever else is derived from it. */
const SECRET_PREFIX = "FLEET_ENROLL_TOKEN";
/** A list without a name in it counts as unset. (A5) */
const NAMES_ANY = /[^\s,]/;
/** A shorter secret is looked for as a whole value only: as a part it could be met by chance. */
const SECRET_PART_LENGTH_MIN = 8;

/**
 * The whole environment of one sensor. What the sensor declares wins over what the image has, secrets included, since its
 * config's author named it; not over its node's own names.
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

/** As a virtual environment's own `activate` does it, so that programs it starts are the environment's, too. */
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
