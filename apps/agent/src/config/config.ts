/**
 * Loads the agent's settings from flags, variables and the config file, in this order of precedence. All problems are reported
 * together, each with its place. Used by run.ts, main.ts and the doctor. (A5, A6, A8)
 */
import { readFileSync } from "node:fs";
import { ConfigError, isLogLevel, LOG_LEVELS, type LogLevel } from "@fleet/daemon";
import { type NodeClass, type NodeId, nodeIdSchema } from "@fleet/protocol";
import type { CustomInterpreter } from "@fleet/runtimes";
import { readCaFile } from "./ca-file.ts";
import { type ConfigFile, bareUrlSchema, parseConfigFile } from "./file.ts";
import { salvageConfigFile } from "./salvage.ts";
import { type SensorConfig, sensorConfig } from "./sensor.ts";
import { configPath, type DetectionConfig, type RunFlags } from "./run-flags.ts";
import { isToken, type TokenSource } from "./enroll-tokens.ts";
import type { Environment } from "../process/image-env.ts";
import type { SpoolConfig } from "./spool.ts";
import { openStateDir, type StateDir } from "../state/state-dir.ts";

/** The address of the health endpoint, and the URL at which others reach it; by default derived from the address. */
export interface HealthConfig {
  readonly host: string;
  readonly port: number;
  readonly url: string | undefined;
}

/** All settings of the agent. */
export interface AgentConfig {
  readonly coordinatorUrl: string;
  /** The certificate authorities to trust, in PEM. Undefined: the public ones. */
  readonly ca: string | undefined;
  readonly enrollTokens: readonly TokenSource[];
  /** The configured name, if any. */
  readonly nodeName: NodeId | undefined;
  readonly group: string | undefined;
  /** The configured class. Undefined: persistent with a state directory, else ephemeral. */
  readonly class: NodeClass | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly stateDir: StateDir;
  readonly runtimes: readonly string[] | undefined;
  readonly interpreters: readonly CustomInterpreter[];
  readonly sensors: readonly SensorConfig[];
  readonly spool: SpoolConfig;
  /** Whether the agent exits, or stays without sensors, when another process speaks for its node. (A8, R9) */
  readonly onSuperseded: "exit" | "stay";
  /** Undefined: `/health` is not served. (R2) */
  readonly health: HealthConfig | undefined;
  /** The most time an orderly stop may take. (A8) */
  readonly stopTimeoutMs: number;
  readonly logLevel: LogLevel;
}

/** The settings without their invalid parts, and all problems. */
export interface ConfigSurvey {
  readonly config: Omit<AgentConfig, "coordinatorUrl"> & {
    readonly coordinatorUrl: string | undefined;
  };
  readonly problems: readonly string[];
}

/** Loads the settings. Throws `ConfigError`. */
export function loadConfig(flags: RunFlags, env: Environment): AgentConfig {
  const { config, problems } = surveyConfig(flags, env, openStateDir);
  const { coordinatorUrl } = config;
  if (problems.length > 0 || coordinatorUrl === undefined)
    throw new ConfigError("configuration", problems);
  return { ...config, coordinatorUrl };
}

/** Like `loadConfig`, but leaves out invalid parts instead of throwing. `openDir` gets the configured state directory, if any. (A9) */
export function surveyConfig(
  flags: RunFlags,
  env: Environment,
  openDir: (explicit: string | undefined) => StateDir,
): ConfigSurvey {
  const problems: string[] = [];
  const { file, lacksCoordinator } = readFile(flags, env, problems);
  const url = pick([
    ["--coordinator", flags.coordinator],
    ["FLEET_COORDINATOR_URL", env["FLEET_COORDINATOR_URL"]],
    ["coordinator.url", file.coordinator.url],
  ]);
  if (url === undefined && lacksCoordinator)
    problems.push("coordinator.url: missing; set it, FLEET_COORDINATOR_URL or --coordinator");
  const coordinatorUrl = checked(url, problems, (value) => bareUrlSchema.safeParse(value));
  const ca = caOf(file, env, problems);
  const name = pick([
    ["--name", flags.name],
    ["FLEET_NODE_ID", env["FLEET_NODE_ID"]],
    ["node.name", file.node.name],
  ]);
  const nodeName = checked(name, problems, (value) => nodeIdSchema.safeParse(value));
  const enrollTokens = tokenSources(file, env, problems);
  const logLevel = levelOf(flags.logLevel, problems);
  const stateDir = stateDirOf(flags, env, problems, openDir);
  const config = {
    coordinatorUrl: coordinatorUrl?.replace(/\/+$/, ""),
    ca,
    enrollTokens,
    nodeName,
    group: file.node.group,
    class: file.node.class,
    labels: file.node.labels,
    stateDir,
    runtimes: file.runtimes,
    interpreters: file.interpreters,
    sensors: file.sensors.map((sensor) => sensorConfig(sensor, file.interpreters)),
    spool: {
      bytesMax: file.spool.bytes_max,
      ageMaxMs: file.spool.age_max,
      onFull: file.spool.on_full,
    },
    onSuperseded: file.node.on_superseded,
    health: file.health && { ...file.health.listen, url: file.health.url },
    stopTimeoutMs: file.stop_timeout,
    logLevel,
  };
  return { config, problems };
}

/** Loads only what detection needs: the runtimes and interpreters of the config file, if there is one. Throws `ConfigError`. */
export function loadDetectionConfig(flags: RunFlags, env: Environment): DetectionConfig {
  const problems: string[] = [];
  const { file } = readFile(flags, env, problems);
  if (problems.length > 0) throw new ConfigError("configuration", problems);
  return { runtimes: file.runtimes, interpreters: file.interpreters };
}

interface ReadFile {
  readonly file: ConfigFile;
  /** Whether the file surely names no coordinator; false if it can't be read or is invalid. */
  readonly lacksCoordinator: boolean;
}

/** Reads the file that the flag or variable names, or returns the defaults. An unusable file is added to the problems. */
function readFile(flags: RunFlags, env: Environment, problems: string[]): ReadFile {
  const path = configPath(flags, env);
  let yaml = "{}";
  try {
    if (path !== undefined) yaml = readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    problems.push(`${path}: can't be read: ${code}`);
    return { ...readFile({}, {}, []), lacksCoordinator: false };
  }
  const result = parseConfigFile(yaml, env["FLEET_AGENT_RUNTIMES"]);
  if (result.at === "ok")
    return { file: result.file, lacksCoordinator: result.file.coordinator.url === undefined };
  problems.push(...result.problems.map((problem) => `${path}: ${problem}`));
  const file = salvageConfigFile(yaml, env["FLEET_AGENT_RUNTIMES"]);
  return { file, lacksCoordinator: !result.namesCoordinator };
}

interface Picked {
  readonly from: string;
  readonly value: string;
}

/** The first candidate that is set; an empty variable counts as unset. */
function pick(
  candidates: readonly (readonly [from: string, value: string | undefined])[],
): Picked | undefined {
  for (const [from, value] of candidates)
    if (value !== undefined && value !== "") return { from, value };
  return undefined;
}

function checked<T>(
  picked: Picked | undefined,
  problems: string[],
  parse: (value: string) => {
    data?: T | undefined;
    error?: { issues: readonly { message: string }[] } | undefined;
  },
): T | undefined {
  if (picked === undefined) return undefined;
  const { data, error } = parse(picked.value);
  for (const { message } of error?.issues ?? []) problems.push(`${picked.from}: ${message}`);
  return data;
}

function caOf(file: ConfigFile, env: Environment, problems: string[]): string | undefined {
  const picked = pick([
    ["FLEET_COORDINATOR_CA_FILE", env["FLEET_COORDINATOR_CA_FILE"]],
    ["coordinator.ca_file", file.coordinator.ca_file],
  ]);
  if (picked === undefined) return undefined;
  const read = readCaFile(picked.value);
  if (read.at === "ok") return read.ca;
  problems.push(`${picked.from}: ${read.problem}`);
  return undefined;
}

/** The sources of enrolment tokens, in the order they are tried. */
function tokenSources(file: ConfigFile, env: Environment, problems: string[]): TokenSource[] {
  const sources: TokenSource[] = [];
  for (const name of ["FLEET_ENROLL_TOKEN", "FLEET_ENROLL_TOKEN_PREVIOUS"]) {
    const token = env[name];
    const path =
      env[`${name}_FILE`] ||
      (name === "FLEET_ENROLL_TOKEN" ? file.coordinator.enroll_token_file : undefined);
    if (token !== undefined && token !== "") {
      if (isToken(token)) sources.push({ at: "value", token });
      else problems.push(`${name}: must be printable ASCII without spaces`);
    } else if (path !== undefined) sources.push({ at: "file", path });
  }
  return sources;
}

function levelOf(flag: string | undefined, problems: string[]): LogLevel {
  if (flag === undefined) return "info";
  if (isLogLevel(flag)) return flag;
  problems.push(`--log-level: must be one of ${LOG_LEVELS.join(", ")}`);
  return "info";
}

function stateDirOf(
  flags: RunFlags,
  env: Environment,
  problems: string[],
  openDir: (explicit: string | undefined) => StateDir,
): StateDir {
  const picked = pick([
    ["--state-dir", flags.stateDir],
    ["FLEET_STATE_DIR", env["FLEET_STATE_DIR"]],
  ]);
  const dir = openDir(picked?.value);
  if (picked !== undefined && dir.at === "none") problems.push(`${picked.from}: ${dir.reason}`);
  return dir;
}
