/**
 * The rules of agent.yaml that a schema can't say: between keys, between sensors, and with FLEET_AGENT_RUNTIMES. They look at
 * the file as it was written, so that they speak up beside whatever else is wrong with it. Pure.
 */
import { canonicalRuntime, NATIVE, type RuntimeNames, resolveRuntimes } from "@fleet/runtimes";

/** Most sensors of one node. */
export const SENSORS_MAX = 256;

/** The one runtime that has virtual environments. */
const PYTHON = "python";

type Raw = Readonly<Record<string, unknown>>;
type Problem = readonly [key: string, message: string];

/** What the rules find in a file: `path: what is wrong`. `override` is FLEET_AGENT_RUNTIMES. (A5, A6) */
export function ruleProblems(raw: unknown, override: string | undefined): string[] {
  const file = objectOf(raw);
  const interpreters = listOf(file["interpreters"]).map(objectOf).filter(isNamed);
  const config = Array.isArray(file["runtimes"]) ? file["runtimes"].map(String) : undefined;
  const fromConfig = resolveRuntimes({ override: undefined, config, detected: [], interpreters });
  const inForce = resolveRuntimes({ override, config, detected: [], interpreters });
  return [
    ...fromConfig.problems
      .filter(({ severity }) => severity === "error")
      .map(({ name }) => `runtimes: "${name}" is no runtime Fleet knows`),
    ...sensorProblems(
      listOf(file["sensors"]).map(objectOf),
      interpreters,
      inForce.runtimes.includes(NATIVE),
    ),
  ];
}

/** Whether the file names a coordinator, rightly or not. */
export function namesCoordinator(raw: unknown): boolean {
  return objectOf(objectOf(raw)["coordinator"])["url"] !== undefined;
}

function sensorProblems(
  sensors: readonly Raw[],
  interpreters: readonly RuntimeNames[],
  nativeAllowed: boolean,
): string[] {
  const names = new Map<unknown, number>();
  return sensors.flatMap((sensor, index) => {
    const problems = [
      ...runtimeProblems(sensor, interpreters, nativeAllowed),
      ...modeProblems(sensor),
      ...userProblems(sensor),
    ];
    const first = names.get(sensor["name"]);
    if (first !== undefined && sensor["name"] !== undefined)
      problems.push(["name", `sensors.${first} has this name already`]);
    else names.set(sensor["name"], index);
    return problems.map(([key, message]) => `sensors.${index}.${key}: ${message}`);
  });
}

function modeProblems(sensor: Raw): Problem[] {
  const isPoll = sensor["mode"] === "poll";
  const problems: Problem[] = [];
  if (isPoll && sensor["interval"] === undefined)
    problems.push(["interval", "a poll sensor needs one"]);
  for (const key of isPoll ? ["restart"] : ["interval", "timeout"])
    if (sensor[key] !== undefined)
      problems.push([key, `goes with ${isPoll ? "stream" : "poll"} sensors only`]);
  return problems;
}

function userProblems(sensor: Raw): Problem[] {
  if (sensor["gid"] === undefined || sensor["uid"] !== undefined) return [];
  return [["gid", "goes with a uid; without one the sensor runs as the agent does"]];
}

function runtimeProblems(
  sensor: Raw,
  interpreters: readonly RuntimeNames[],
  nativeAllowed: boolean,
): Problem[] {
  const written = sensor["runtime"];
  if (typeof written !== "string" || written === "") return [];
  const runtime = canonicalRuntime(written, interpreters);
  if (runtime === undefined) return [["runtime", `"${written}" is no runtime Fleet knows`]];
  const problems: Problem[] = [];
  if (sensor["environment"] !== undefined && runtime !== PYTHON)
    problems.push(["environment", "goes with runtime python only"]);
  if (runtime !== NATIVE) return problems;
  if (!nativeAllowed)
    problems.push([
      "runtime",
      "native is not among the runtimes here; add it to runtimes: or FLEET_AGENT_RUNTIMES",
    ]);
  if (sensor["requires"] !== undefined)
    problems.push(["requires", "a native program has no version to ask for"]);
  return problems;
}

function objectOf(value: unknown): Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Raw) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value.slice(0, SENSORS_MAX) : [];
}

function isNamed(value: Raw): value is Raw & RuntimeNames {
  const { name, aliases } = value;
  if (typeof name !== "string") return false;
  return (
    aliases === undefined || (Array.isArray(aliases) && aliases.every((a) => typeof a === "string"))
  );
}
