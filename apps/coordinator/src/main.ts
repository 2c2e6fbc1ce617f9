#!/usr/bin/env bun
/** `fleet-coordinator`: the command line. Reads flags, environment and files once, then hands over to coordinator.ts. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  createLog,
  exitCodeOf,
  isLogLevel,
  LOG_LEVELS,
  type LogLevel,
  onStopSignals,
  systemClock,
  systemRandom,
} from "@fleet/daemon";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import type { SharedTokens } from "./auth.ts";
import { type Config, ConfigError, loadConfig, readSecret } from "./config.ts";
import { createCoordinator, defaultOutputDir } from "./coordinator.ts";
import { revealEnvironment } from "@fleet/daemon/environment";
import { VERSION } from "@fleet/daemon/version";

const EXIT_USAGE = 64;
const EXIT_CONFIG = 78;
const EXIT_FAILED = 1;
const STOP_MS = 15_000;
const HEALTH_MS = 5000;
const LOOPBACK = "127.0.0.1";
const DEFAULT_TRACKER = ["--tcp", "--tcp-host", "127.0.0.1", "--tcp-port", "{port}", "-s", "-"];

interface HostPort {
  readonly host: string;
  readonly port: number;
}

interface ServeFlags {
  readonly config?: string;
  readonly dataDir: string;
  readonly http?: HostPort;
  readonly frames?: HostPort;
  readonly insecureDev?: true;
  readonly logLevel: LogLevel;
}

function program(): Command {
  const root = new Command("fleet-coordinator")
    .description("Knows the fleet's nodes, takes their frames and runs a tracker for each stream.")
    .version(VERSION)
    .exitOverride();
  root
    .command("serve")
    .description("run the coordinator until SIGINT or SIGTERM")
    .option("--config <file>", "YAML or TOML configuration")
    .addOption(
      new Option("--data-dir <dir>", "where the database and keys live; :memory: keeps nothing")
        .env("FLEET_DATA_DIR")
        .default("./data"),
    )
    .option("--http <host:port>", "listen for HTTP here (default 0.0.0.0:7700)", parseHostPort)
    .option("--frames <host:port>", "listen for frames here (default 0.0.0.0:30050)", parseHostPort)
    .option("--insecure-dev", "run without tokens, on loopback unless flags or config say else")
    .addOption(
      new Option("--log-level <level>", "least severe level logged")
        .choices([...LOG_LEVELS])
        .default("info")
        .argParser(parseLogLevel),
    )
    .action((flags: ServeFlags) => serve(flags));
  root
    .command("check-config")
    .description("check a configuration file and list every problem")
    .argument("<file>", "YAML or TOML configuration")
    .action((file: string) => {
      loadConfig(file);
      process.stdout.write(`${file}: ok\n`);
    });
  root
    .command("health")
    .description("ask a running coordinator whether it is well; exits 0 or 1")
    .option("--url <url>", "its address", "http://127.0.0.1:7700")
    .action((flags: { url: string }) => health(flags.url));
  return root;
}

async function serve(flags: ServeFlags): Promise<void> {
  const config = withFlags(loadConfig(flags.config), flags);
  const { env } = process;
  const tokens = readTokens(config, flags.insecureDev === true);
  const log = createLog(flags.logLevel, "fleet-coordinator");
  const coordinator = createCoordinator({
    config,
    dataDir: flags.dataDir,
    outputDir: config.output.dir ?? defaultOutputDir(flags.dataDir),
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
  if (tokens.insecureDev) log.warn({}, "running without tokens: anybody who reaches us is let in");
  log.info({ version: VERSION, http_port, frames_port, data_dir: flags.dataDir }, "ready");
}

function withFlags(config: Config, flags: ServeFlags): Config {
  const host = flags.insecureDev === true ? { host: LOOPBACK } : {};
  return {
    ...config,
    http: { ...host, ...config.http, ...flags.http },
    tcp_server: { ...host, ...config.tcp_server, ...flags.frames },
  };
}

/** Tokens from the environment, the files it names, or the files the config names. (H5) */
function readTokens(config: Config, insecureDev: boolean): SharedTokens {
  const { env } = process;
  const some = (...secrets: (string | undefined)[]): string[] =>
    secrets.filter((s) => s !== undefined);
  const enroll = some(
    readSecret(env, "FLEET_ENROLL_TOKEN", config.enroll_token_file),
    readSecret(env, "FLEET_ENROLL_TOKEN_PREVIOUS"),
  );
  const operator = some(readSecret(env, "FLEET_OPERATOR_TOKEN", config.operator_token_file));
  const push = some(readSecret(env, "FLEET_PUSH_TOKEN", config.tcp_server.token_file));
  const missing = [
    ...(enroll.length === 0 ? ["FLEET_ENROLL_TOKEN: agents could not register"] : []),
    ...(operator.length === 0 ? ["FLEET_OPERATOR_TOKEN: nobody could look or steer"] : []),
  ];
  if (missing.length > 0 && !insecureDev) {
    throw new ConfigError("tokens missing (set NAME or NAME_FILE, or use --insecure-dev)", missing);
  }
  const isIn = (others: readonly string[]) => (secret: string) => others.includes(secret);
  const shared = [
    ...(push.some(isIn([...enroll, ...operator]))
      ? ["FLEET_PUSH_TOKEN: plain nodes send it with every line"]
      : []),
    ...(enroll.some(isIn(operator))
      ? ["FLEET_ENROLL_TOKEN: every agent would be an operator"]
      : []),
  ];
  if (shared.length > 0) throw new ConfigError("a token must differ from the others", shared);
  return { enroll, operator, push, insecureDev };
}

/** `fleet-tracker` beside this program, else on PATH. */
function findTracker(): string {
  const beside = join(dirname(process.execPath), "fleet-tracker");
  const found = existsSync(beside) ? beside : Bun.which("fleet-tracker");
  if (found === null) {
    throw new ConfigError("fleet-tracker", [
      `is neither beside ${process.execPath} nor on PATH; tracker.command in the config names another`,
    ]);
  }
  return found;
}

async function health(url: string): Promise<void> {
  try {
    const response = await fetch(new URL("/healthz", url), {
      signal: AbortSignal.timeout(HEALTH_MS),
    });
    process.stdout.write(`${(await response.text()).trim()}\n`);
    process.exitCode = response.ok ? 0 : EXIT_FAILED;
  } catch (error) {
    process.stderr.write(`fleet-coordinator: ${url}: ${(error as Error).message}\n`);
    process.exitCode = EXIT_FAILED;
  }
}

function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || !(port <= 65_535))
    throw new InvalidArgumentError("It must be HOST:PORT, such as 127.0.0.1:7700.");
  return { host, port };
}

function parseLogLevel(text: string): LogLevel {
  if (isLogLevel(text)) return text;
  throw new InvalidArgumentError(`It must be one of ${LOG_LEVELS.join(", ")}.`);
}

/** Errors the user can mend are one clear line; anything else keeps its stack. */
function exitCodeFor(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  const code = (error as { code?: unknown } | null)?.code;
  if (error instanceof Error && typeof code === "string") {
    process.stderr.write(`fleet-coordinator: ${error.message}\n`);
    return code === "config" ? EXIT_CONFIG : EXIT_FAILED;
  }
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`fleet-coordinator: ${what}\n`);
  return EXIT_FAILED;
}

try {
  await program().parseAsync();
} catch (error) {
  process.exit(exitCodeFor(error));
}
