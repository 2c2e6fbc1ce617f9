/** The command line of `fleet-coordinator`: its sub-commands and flags, each of which is loaded only when it is asked for. */
import { isLogLevel, LOG_LEVELS, type LogLevel, systemClock } from "@fleet/daemon";
import { VERSION } from "@fleet/daemon/version";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import type { BackupContents } from "../db/backup.ts";
import { health, type HealthFlags } from "./health.ts";
import { type HostPort, parseHostPort } from "../config/host-port.ts";
import {
  describeSecrets,
  makeSecret,
  SECRET_NAMES,
  type SecretName,
  SecretsError,
  showSecret,
} from "./secrets.ts";
import type { ServeFlags } from "./serve.ts";
import { addTokenCommands } from "./token-command.ts";

interface SecretsFlags {
  readonly agents?: string;
  readonly mode: number;
  readonly show?: SecretName;
}

const EXIT_USAGE = 64;
const EXIT_FAILED = 1;
/** By the error's `code`, of sysexits.h: data that is wrong, try again later, configuration. */
const EXITS: Readonly<Record<string, number>> = {
  database_damaged: 65,
  data_dir_in_use: 75,
  config: 78,
};
const SECRET_MODE = 0o444;

/** Does what the process's arguments ask for. Ends the process when that fails. */
export async function runCommandLine(): Promise<void> {
  try {
    await program().parseAsync();
  } catch (error) {
    process.exit(exitCodeFor(error));
  }
}

function program(): Command {
  const root = new Command("fleet-coordinator")
    .description("Knows the fleet's nodes, takes their frames and runs a tracker for each stream.")
    .version(VERSION)
    .exitOverride();
  addServe(root);
  root
    .command("check-config")
    .description("check a configuration file and list every problem")
    .argument("<file>", "YAML or TOML configuration")
    .action(async (file: string) => {
      (await import("../config/config.ts")).loadConfig(file);
      process.stdout.write(`${file}: ok\n`);
    });
  root
    .command("health")
    .description("ask a running coordinator whether it is well; exits 0 or 1")
    .addOption(configOption())
    .option("--http <host:port>", "where it listens (default 0.0.0.0:7700)", hostPort)
    .option("--url <url>", "its address, when that is another one")
    .action(async (flags: HealthFlags) => {
      process.exitCode = await health(flags);
    });
  addSecrets(root);
  addBackup(root);
  addTokenCommands(root);
  return root;
}

function addServe(root: Command): void {
  root
    .command("serve")
    .description("run the coordinator until SIGINT or SIGTERM")
    .addOption(configOption())
    .addOption(dataDirOption("where the database and keys live; :memory: keeps nothing"))
    .option("--http <host:port>", "listen for HTTP here (default 0.0.0.0:7700)", hostPort)
    .option("--frames <host:port>", "listen for frames here (default 0.0.0.0:30050)", hostPort)
    .option("--insecure-dev", "run without tokens, on loopback unless flags or config say else")
    .addOption(
      new Option("--log-level <level>", "least severe level logged")
        .choices([...LOG_LEVELS])
        .default("info")
        .argParser(logLevel),
    )
    .action(async (flags: ServeFlags) => (await import("./serve.ts")).serve(flags));
}

function addSecrets(root: Command): void {
  root
    .command("secrets")
    .description(`make the tokens that are missing, each a file: ${SECRET_NAMES.join(", ")}`)
    .argument("<dir...>", "existing directories; the same tokens go into all of them")
    .option("--agents <dir>", "one that agents read: it gets enroll_token and nothing else")
    .addOption(
      new Option("--mode <octal>", "permissions of the files")
        .argParser(fileMode)
        .default(SECRET_MODE, "0444"),
    )
    .option("--show <name>", "make nothing, and print this token", secretName)
    .action((dirs: readonly string[], { agents, mode, show }: SecretsFlags) => {
      const quota = agents === undefined ? dirs : [...dirs, agents];
      if (show !== undefined) return say(showSecret(dirs, show));
      const made = SECRET_NAMES.map((name) =>
        makeSecret(name, name === "enroll_token" ? quota : dirs, mode),
      );
      return say(describeSecrets(made));
    });
}

function addBackup(root: Command): void {
  const dataDir = dataDirOption("where the database and keys live");
  root
    .command("backup")
    .description("write the database and keys to a file, while the coordinator runs or not")
    .argument("<file>", "replaced when it is a backup already")
    .addOption(dataDir)
    .action(async (file: string, flags: { readonly dataDir: string }) => {
      const { backUp } = await import("../db/backup.ts");
      const nowMs = systemClock.nowMs();
      const made = backUp({ file, dataDir: flags.dataDir, nowMs, version: VERSION });
      say(`${file}: ${describeContents(made)}`);
    });
  root
    .command("restore")
    .description("put a backup in the place of the database and keys; no coordinator may run there")
    .argument("<file>", "made by backup, by this version or an older one")
    .addOption(dataDir)
    .option("--force", "also where there is a database, which is moved aside")
    .action(async (file: string, flags: { readonly dataDir: string; readonly force?: true }) => {
      const { restore } = await import("../db/restore.ts");
      const { dataDir: into, force = false } = flags;
      const nowMs = systemClock.nowMs();
      const { movedTo, ...contents } = restore({ file, dataDir: into, force, nowMs });
      say(`${into}: ${describeContents(contents)}`);
      if (movedTo !== undefined) say(`what was there is in ${movedTo}`);
    });
}

function describeContents({ nodes, keys, bytes, atMs, version }: BackupContents): string {
  const at = new Date(atMs).toISOString();
  const also = keys.length === 0 ? "no keys" : keys.join(" and ");
  return `${nodes} nodes, ${also}, ${bytes} bytes, of ${at}, version ${version}`;
}

function dataDirOption(description: string): Option {
  return new Option("--data-dir <dir>", description).env("FLEET_DATA_DIR").default("./data");
}

function configOption(): Option {
  return new Option("--config <file>", "YAML or TOML configuration").env(
    "FLEET_COORDINATOR_CONFIG",
  );
}

function hostPort(text: string): HostPort {
  const parsed = parseHostPort(text);
  if (parsed !== undefined) return parsed;
  throw new InvalidArgumentError("It must be HOST:PORT, such as 127.0.0.1:7700.");
}

function secretName(text: string): SecretName {
  const name = SECRET_NAMES.find((known) => known === text);
  if (name !== undefined) return name;
  throw new InvalidArgumentError(`It must be one of ${SECRET_NAMES.join(", ")}.`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fileMode(text: string): number {
  const mode = /^[0-7]{3,4}$/.test(text) ? Number.parseInt(text, 8) : 0;
  if (mode <= 0o777 && (mode & 0o400) !== 0) return mode;
  throw new InvalidArgumentError("It must be octal, at most 0777, and let the owner read.");
}

function logLevel(text: string): LogLevel {
  if (isLogLevel(text)) return text;
  throw new InvalidArgumentError(`It must be one of ${LOG_LEVELS.join(", ")}.`);
}

/** Errors the user can mend are one clear line; anything else keeps its stack. */
function exitCodeFor(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  const code = (error as { code?: unknown } | null)?.code;
  if (error instanceof Error && typeof code === "string") {
    process.stderr.write(`fleet-coordinator: ${error.message}\n`);
    if (error instanceof SecretsError) return error.exitCode;
    return EXITS[code] ?? EXIT_FAILED;
  }
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`fleet-coordinator: ${what}\n`);
  return EXIT_FAILED;
}
