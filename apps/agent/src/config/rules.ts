/**
 * The rules of agent.yaml that the schema can't express: between keys, between sensors, and with FLEET_AGENT_RUNTIMES. They
 * check the unparsed file, so that their problems are reported together with those of the schema. Pure. Used by file.ts.
 */
import { canonicalRuntime, NATIVE, type RuntimeNames, resolveRuntimes } from "@fleet/runtimes";

/** The most sensors of one node. */
export const SENSORS_MAX = 256;

/** The only runtime with virtual environments. */
const PYTHON = "python";

type Raw = Readonly<Record<string, unknown>>;
type Problem = readonly [key: string, message: string];

/** The problems of a file, as `path: what is wrong`. `override` is FLEET_AGENT_RUNTIMES. (A5, A6) */
export function ruleProblems(raw: unknown, override: string | undefined): string[] {
  const file = objectOf(raw);
  const interpreters = listOf(file["interpreters"]).map(objectOf).filter(isNamed);
  const config = Array.isArray(file["runtimes"]) ? file["runtimes"].map(String) : undefined;
  const fromConfig = resolveRuntimes({ override: undefined, config, detected: [], interpreters });
  const effective = resolveRuntimes({ override, config, detected: [], interpreters });
  return [
    ...fromConfig.problems
      .filter(({ severity }) => severity === "error")
      .map(({ name }) => `runtimes: "${name}" is not a known runtime`),
    ...sensorProblems(
      listOf(file["sensors"]).map(objectOf),
      interpreters,
      effective.runtimes.includes(NATIVE),
    ),
  ];
}

/** Whether the file names a coordinator, even an invalid one. */
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
      problems.push(["name", `is already the name of sensors.${first}`]);
    else names.set(sensor["name"], index);
    return problems.map(([key, message]) => `sensors.${index}.${key}: ${message}`);
  });
}

function modeProblems(sensor: Raw): Problem[] {
  const isPoll = sensor["mode"] === "poll";
  const problems: Problem[] = [];
  if (isPoll && sensor["interval"] === undefined)
    problems.push(["interval", "required for a poll sensor"]);
  for (const key of isPoll ? ["restart"] : ["interval", "timeout"])
    if (sensor[key] !== undefined)
      problems.push([key, `is only valid for ${isPoll ? "stream" : "poll"} sensors`]);
  return problems;
}

function userProblems(sensor: Raw): Problem[] {
  if (sensor["gid"] === undefined || sensor["uid"] !== undefined) return [];
  return [["gid", "is only valid together with uid"]];
}

function runtimeProblems(
  sensor: Raw,
  interpreters: readonly RuntimeNames[],
  nativeAllowed: boolean,
): Problem[] {
  const written = sensor["runtime"];
  if (typeof written !== "string" || written === "") return [];
  const runtime = canonicalRuntime(written, interpreters);
  if (runtime === undefined) return [["runtime", `"${written}" is not a known runtime`]];
  const problems: Problem[] = [];
  if (sensor["environment"] !== undefined && runtime !== PYTHON)
    problems.push(["environment", "is only valid with runtime python"]);
  if (runtime !== NATIVE) return problems;
  if (!nativeAllowed)
    problems.push([
      "runtime",
      "native is not enabled; add it to runtimes: or FLEET_AGENT_RUNTIMES",
    ]);
  if (sensor["requires"] !== undefined)
    problems.push(["requires", "is not valid for a native program, which has no known version"]);
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
