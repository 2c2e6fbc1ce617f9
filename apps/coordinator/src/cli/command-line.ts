/**
 * The command line of `fleet-coordinator`: sub-commands, flags, help and errors. The code of a large command is
 * imported when that command runs, so that the others start fast. Called by main.ts.
 */
import { isLogLevel, LOG_LEVELS, type LogLevel, systemClock } from "@fleet/daemon";
import { VERSION } from "@fleet/daemon/version";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { type HostPort, parseHostPort } from "@fleet/daemon/units";
import type { BackupContents } from "../db/backup.ts";
import { EXIT_HELP, exitCodeFor } from "./exit-codes.ts";
import { health, type HealthFlags } from "./health.ts";
import {
  describeSecrets,
  makeSecret,
  SECRET_NAMES,
  type SecretName,
  showSecret,
} from "./secrets.ts";
import type { ServeFlags } from "./serve.ts";
import { addTokenCommands } from "./token-command.ts";

interface SecretsFlags {
  readonly agents?: string;
  readonly mode: number;
  readonly show?: SecretName;
}

const SECRET_MODE = 0o444;

/** Runs the command that the process's arguments name. Exits the process if it fails. */
export async function runCommandLine(): Promise<void> {
  try {
    await program().parseAsync();
  } catch (error) {
    // Commander has printed its own errors.
    if (!(error instanceof CommanderError))
      process.stderr.write(`fleet-coordinator: ${messageOf(error)}\n`);
    process.exit(exitCodeFor(error));
  }
}

function program(): Command {
  const root = new Command("fleet-coordinator")
    .description(
      "Registers the fleet's nodes, receives their frames and runs a tracker per stream.",
    )
    .version(VERSION)
    .addHelpText("after", EXIT_HELP)
    .exitOverride();
  addServe(root);
  root
    .command("check-config")
    .description("check a configuration file and list every problem")
    .argument("<file>", "configuration file: YAML, or TOML if it ends in .toml")
    .action(async (file: string) => {
      (await import("../config/config.ts")).loadConfig(file);
      print(`${file}: ok`);
    });
  root
    .command("health")
    .description("ask a running coordinator whether it is healthy; exit with 0 if so, else 1")
    .addOption(configOption())
    .option("--http <host:port>", "where it listens (default: 0.0.0.0:7700)", hostPort)
    .option("--url <url>", "its base URL, if it isn't reached where it listens")
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
    .addOption(dataDirOption("directory of the database and keys; :memory: stores nothing"))
    .option("--http <host:port>", "listen here for HTTP (default: 0.0.0.0:7700)", hostPort)
    .option("--frames <host:port>", "listen here for frames (default: 0.0.0.0:30050)", hostPort)
    .option(
      "--insecure-dev",
      "run without tokens; listen on 127.0.0.1 unless a flag or the config sets a host",
    )
    .addOption(
      new Option("--log-level <level>", "log messages of this level and above")
        .choices([...LOG_LEVELS])
        .default("info")
        .argParser(logLevel),
    )
    .action(async (flags: ServeFlags) => (await import("./serve.ts")).serve(flags));
}

function addSecrets(root: Command): void {
  root
    .command("secrets")
    .description(
      `create a file for each missing token (${SECRET_NAMES.join(", ")}); existing files stay`,
    )
    .argument("<dir...>", "existing directories; all receive the same tokens")
    .option("--agents <dir>", "a directory that agents read; receives only enroll_token")
    .addOption(
      new Option("--mode <octal>", "permissions of created files")
        .argParser(fileMode)
        .default(SECRET_MODE, "0444"),
    )
    .option("--show <name>", "print this token and create nothing", secretName)
    .action((dirs: readonly string[], { agents, mode, show }: SecretsFlags) => {
      if (show !== undefined) return print(showSecret(dirs, show));
      const enrollDirs = agents === undefined ? dirs : [...dirs, agents];
      const secrets = SECRET_NAMES.map((name) =>
        makeSecret(name, name === "enroll_token" ? enrollDirs : dirs, mode),
      );
      return print(describeSecrets(secrets));
    });
}

function addBackup(root: Command): void {
  const dataDir = dataDirOption("directory of the database and keys");
  root
    .command("backup")
    .description("write the database and keys to a file; the coordinator may be running")
    .argument("<file>", "the backup to write; an existing backup is replaced")
    .addOption(dataDir)
    .action(async (file: string, flags: { readonly dataDir: string }) => {
      const { backUp } = await import("../db/backup.ts");
      const nowMs = systemClock.nowMs();
      const contents = backUp({ file, dataDir: flags.dataDir, nowMs, version: VERSION });
      print(`${file}: ${describeContents(contents)}`);
    });
  root
    .command("restore")
    .description("replace the database and keys by a backup's; the coordinator must be stopped")
    .argument("<file>", "a backup written by this version or an older one")
    .addOption(dataDir)
    .option("--force", "replace an existing database; its files move to replaced-<time>")
    .action(async (file: string, flags: { readonly dataDir: string; readonly force?: true }) => {
      const { restore } = await import("../db/restore.ts");
      const { dataDir: into, force = false } = flags;
      const nowMs = systemClock.nowMs();
      const { movedTo, ...contents } = restore({ file, dataDir: into, force, nowMs });
      print(`${into}: ${describeContents(contents)}`);
      if (movedTo !== undefined) print(`the previous files are in ${movedTo}`);
    });
}

function describeContents({ nodes, keys, bytes, atMs, version }: BackupContents): string {
  const keyNames = keys.length === 0 ? "no keys" : keys.join(" and ");
  const at = new Date(atMs).toISOString();
  return `${nodes} nodes, ${keyNames}, ${bytes} bytes, written ${at} by version ${version}`;
}

function dataDirOption(description: string): Option {
  return new Option("--data-dir <dir>", description).env("FLEET_DATA_DIR").default("./data");
}

function configOption(): Option {
  return new Option("--config <file>", "configuration file, YAML or TOML").env(
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

function fileMode(text: string): number {
  const mode = /^[0-7]{3,4}$/.test(text) ? Number.parseInt(text, 8) : 0;
  if (mode <= 0o777 && (mode & 0o400) !== 0) return mode;
  throw new InvalidArgumentError(
    "It must be octal, at most 0777, and readable by the owner, such as 0440.",
  );
}

function logLevel(text: string): LogLevel {
  if (isLogLevel(text)) return text;
  throw new InvalidArgumentError(`It must be one of ${LOG_LEVELS.join(", ")}.`);
}

/** An error with a `code` is one the user can fix: its message suffices. Any other is a defect and keeps its stack. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { readonly code?: unknown };
  return typeof code === "string" ? error.message : (error.stack ?? error.message);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
