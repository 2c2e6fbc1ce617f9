/** `fleet-coordinator serve`: combines flags, environment and configuration file, and runs a coordinator until a stop signal. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  createLog,
  exitCodeOf,
  type LogLevel,
  onStopSignals,
  systemClock,
  systemRandom,
  ConfigError,
  type HostPort,
} from "@fleet/daemon";
import { revealEnvironment } from "@fleet/daemon/environment";
import { VERSION } from "@fleet/daemon/version";
import { isGuessable } from "../auth/secret-text.ts";
import type { ConfiguredToken } from "../auth/token.ts";
import type { TokenSettings } from "../auth/tokens.ts";
import { type Config, loadConfig, readSecret } from "../config/config.ts";
import { createCoordinator, defaultTrackDir } from "../coordinator.ts";

const STOP_MS = 15_000;
const LOOPBACK = "127.0.0.1";
const DEFAULT_TRACKER = ["--tcp", "--tcp-host", "127.0.0.1", "--tcp-port", "{port}", "-s", "-"];

/** The flags of `serve`. */
export interface ServeFlags {
  readonly config?: string;
  readonly dataDir: string;
  readonly http?: HostPort;
  readonly frames?: HostPort;
  readonly insecureDev?: true;
  readonly logLevel: LogLevel;
}

/** Starts a coordinator, which ends the process after SIGINT, SIGQUIT or SIGTERM. Throws errors with a `code` if it can't start. */
export async function serve(flags: ServeFlags): Promise<void> {
  const config = withFlags(loadConfig(flags.config || undefined), flags);
  const { env } = process;
  const tokens = readTokens(config, flags.insecureDev === true);
  const log = createLog(flags.logLevel, "fleet-coordinator");
  const coordinator = createCoordinator({
    config,
    dataDir: flags.dataDir,
    trackDir: config.output.dir ?? defaultTrackDir(flags.dataDir),
    tokens,
    trackerCommand: config.tracker.command ?? [findTracker(), ...DEFAULT_TRACKER],
    trackerEnv: Object.fromEntries(
      Object.entries(revealEnvironment(env)).filter(
        (e): e is [string, string] => e[1] !== undefined && !/^FLEET_.*TOKEN/.test(e[0]),
      ),
    ),
    version: VERSION,
    clock: systemClock,
    random: systemRandom,
    log,
  });
  onStopSignals((signal) => {
    log.info({ signal }, "stopping");
    void coordinator.stop(systemClock.monotonicMs() + STOP_MS).then(() => {
      log.info({}, "stopped");
      process.exit(exitCodeOf(signal));
    });
  });
  await coordinator.start();
  const { httpPort: http_port, framesPort: frames_port } = coordinator;
  const short = tokens.configured
    .filter(({ secret }) => isGuessable(secret))
    .map(({ name }) => name);
  if (short.length > 0)
    log.warn({ tokens: short }, "tokens of fewer than 32 characters can be guessed");
  if (tokens.insecureDev) log.warn({}, "running without tokens: anyone who can connect has access");
  log.info({ version: VERSION, http_port, frames_port, data_dir: flags.dataDir }, "ready");
}

function withFlags(config: Config, flags: ServeFlags): Config {
  const host = flags.insecureDev === true ? { host: LOOPBACK } : {};
  // An empty variable counts as unset.
  const agentBinaries = process.env["FLEET_AGENT_BINARIES"] || config.agent_binaries;
  return {
    ...config,
    ...(agentBinaries === undefined ? {} : { agent_binaries: agentBinaries }),
    http: { ...host, ...config.http, ...flags.http },
    tcp_server: { ...host, ...config.tcp_server, ...flags.frames },
  };
}

/** Reads each kind's current and previous token from the environment, or from the file that it or the config names. (H5) */
function readTokens(config: Config, insecureDev: boolean): TokenSettings {
  const { env } = process;
  const read = (
    kind: ConfiguredToken["kind"],
    variable: string,
    file?: string,
  ): ConfiguredToken[] =>
    [
      [variable, readSecret(env, variable, file)] as const,
      [`${variable}_PREVIOUS`, readSecret(env, `${variable}_PREVIOUS`)] as const,
    ].flatMap(([name, secret]) =>
      secret === undefined ? [] : [{ kind, name: `env:${name}`, secret }],
    );
  const enroll = read("enroll", "FLEET_ENROLL_TOKEN", config.enroll_token_file);
  const operator = read("operator", "FLEET_OPERATOR_TOKEN", config.operator_token_file);
  const push = read("push", "FLEET_PUSH_TOKEN", config.tcp_server.token_file);
  const isIn = (others: readonly ConfiguredToken[]) => (token: ConfiguredToken) =>
    others.some(({ secret }) => secret === token.secret);
  const shared = [
    ...(push.some(isIn([...enroll, ...operator]))
      ? ["FLEET_PUSH_TOKEN: plain nodes send it with every frame, so it must open nothing else"]
      : []),
    ...(enroll.some(isIn(operator))
      ? ["FLEET_ENROLL_TOKEN: it equals an operator token, so every agent would be an operator"]
      : []),
  ];
  if (shared.length > 0) throw new ConfigError("tokens of different kinds must differ", shared);
  return { configured: [...enroll, ...operator, ...push], insecureDev };
}

/** `fleet-tracker` beside this program, else on PATH. */
function findTracker(): string {
  const beside = join(dirname(process.execPath), "fleet-tracker");
  const found = existsSync(beside) ? beside : Bun.which("fleet-tracker");
  if (found === null) {
    throw new ConfigError("fleet-tracker", [
      `is neither beside ${process.execPath} nor on PATH; install it there or set tracker.command in the config`,
    ]);
  }
  return found;
}
