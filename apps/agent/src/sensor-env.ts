/**
 * What a sensor finds in its environment: the image's own variables as they were, less the agent's secrets, plus what ties
 * it to its node. (A10)
 *
 * What this does not protect against: a sensor of the agent's uid may read the files the agent may read, a token file and
 * the state directory among them. Run sensors under another uid, or give the agent its token in a variable, where that matters.
 */
import type { NodeId, SensorName } from "@fleet/protocol";
import type { Environment } from "./image-env.ts";

/** `runtimes` is the value of FLEET_AGENT_RUNTIMES for images that set none. */
export interface SensorEnvironmentOptions {
  readonly image: Environment;
  readonly sensor: SensorName;
  readonly nodeId: NodeId;
  readonly coordinatorUrl: string;
  readonly runtimes: string;
  /** `env:` of the sensor's config. */
  readonly declared: Readonly<Record<string, string>>;
}

/** FLEET_ENROLL_TOKEN, its `_FILE`, `_PREVIOUS` and whatever else is derived from it. */
const SECRET_PREFIX = "FLEET_ENROLL_TOKEN";

/** The whole environment of one sensor. What the sensor declares wins over what the image has, not over its node's own names. */
export function sensorEnvironment(options: SensorEnvironmentOptions): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.image))
    if (value !== undefined && !name.startsWith(SECRET_PREFIX)) env[name] = value;
  env["FLEET_AGENT_RUNTIMES"] ||= options.runtimes;
  return {
    ...env,
    ...options.declared,
    FLEET_API_URL: options.coordinatorUrl,
    FLEET_NODE_ID: options.nodeId,
    FLEET_SENSOR: options.sensor,
  };
}
