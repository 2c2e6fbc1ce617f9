/** The command line of `fleet-agent`, read strictly: what it does not know is an error that names it. No I/O. (A7–A9) */
import { type ArgsDef, defineCommand, parseArgs, renderUsage } from "citty";
import type { RunFlags } from "../config/run-flags.ts";
import { problemOf } from "./flags.ts";
import { type InstallCommandLine, parseInstall } from "./install-command-line.ts";

/** How `--detect-only` tells what it found. `why`: how the verdict on one runtime came about. `fresh`: without the cache. */
export interface DetectFlags {
  readonly json: boolean;
  readonly fresh: boolean;
  readonly why: string | undefined;
}

/** Which log `fleet-agent logs` shows: the last `lines` of it, and with `follow` what comes. */
export interface LogsFlags {
  readonly sensor: string;
  readonly lines: number;
  readonly follow: boolean;
}

/** What was asked for. */
export type CommandLine =
  | { readonly at: "run"; readonly flags: RunFlags }
  | { readonly at: "detect_only"; readonly detect: DetectFlags; readonly flags: RunFlags }
  | { readonly at: "doctor"; readonly json: boolean; readonly flags: RunFlags }
  | { readonly at: "logs"; readonly logs: LogsFlags; readonly flags: RunFlags }
  | { readonly at: "version"; readonly json: boolean }
  | { readonly at: "help"; readonly of: HelpTopic }
  | InstallCommandLine;

/** What has a `--help` here; `install` has its own. */
export type HelpTopic = "run" | "doctor" | "logs";

const LOG_LINES_DEFAULT = 100;
const LOG_LINES_MAX = 1_000_000;

const HELP = { type: "boolean", alias: "h", description: "Print this, and exit" } as const;

const SETTINGS = {
  config: { type: "string", valueHint: "FILE", description: "Config file (FLEET_AGENT_CONFIG)" },
  name: { type: "string", valueHint: "NODE", description: "Node id (FLEET_NODE_ID)" },
  coordinator: {
    type: "string",
    valueHint: "URL",
    description: "The coordinator's HTTP address (FLEET_COORDINATOR_URL)",
  },
  "state-dir": {
    type: "string",
    valueHint: "DIR",
    description: "Where identity, logs and caches are kept (FLEET_STATE_DIR)",
  },
} as const satisfies ArgsDef;

const RUN_ARGS = {
  ...SETTINGS,
  "log-level": {
    type: "string",
    valueHint: "LEVEL",
    description: "trace, debug, info, warn, error or silent (default info)",
  },
  "detect-only": {
    type: "boolean",
    description: "Print which interpreters this image has, and exit",
  },
  why: {
    type: "string",
    valueHint: "RUNTIME",
    description: "With --detect-only: tell how the verdict on this runtime came about",
  },
  fresh: {
    type: "boolean",
    description: "With --detect-only: look again, whatever the state directory remembers",
  },
  json: { type: "boolean", description: "With --detect-only or --version: print JSON" },
  version: { type: "boolean", description: "Print the version, and exit" },
  help: HELP,
} as const satisfies ArgsDef;

const DOCTOR_ARGS = {
  ...SETTINGS,
  json: { type: "boolean", description: "Print the checks as JSON" },
  help: HELP,
} as const satisfies ArgsDef;

const LOGS_ARGS = {
  sensor: {
    type: "positional",
    required: false,
    valueHint: "SENSOR",
    description: "Whose log",
  },
  config: SETTINGS.config,
  "state-dir": SETTINGS["state-dir"],
  lines: {
    type: "string",
    valueHint: "N",
    description: `How many of the last lines (default ${LOG_LINES_DEFAULT})`,
  },
  follow: { type: "boolean", alias: "f", description: "Go on with what is written from now on" },
  help: HELP,
} as const satisfies ArgsDef;

const RUN = defineCommand({
  meta: {
    name: "fleet-agent [run]",
    description:
      "Detects interpreters, runs sensors and sends their frames to the coordinator. Other commands, each with a --help: doctor (what is wrong here), logs SENSOR (what a sensor said), install DIR (put this file into a shared volume)",
  },
  args: RUN_ARGS,
});

const DOCTOR = defineCommand({
  meta: {
    name: "fleet-agent doctor",
    description:
      "Checks everything the agent needs and says what to do about what is wrong; changes nothing. Exit code 1 when something is",
  },
  args: DOCTOR_ARGS,
});

const LOGS = defineCommand({
  meta: {
    name: "fleet-agent logs",
    description: "Prints what a sensor wrote to stderr, and when it was started and ended",
  },
  args: LOGS_ARGS,
});

/** Reads the arguments after the program's name. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const [command, ...words] = argv;
  if (command === "install") return parseInstall(words);
  if (command === "doctor") return parseDoctor(words);
  if (command === "logs") return parseLogs(words);
  return parseRun(command === "run" ? words : argv);
}

/** The text of `--help`. */
export function usage(topic: HelpTopic): Promise<string> {
  switch (topic) {
    case "run":
      return renderUsage(RUN);
    case "doctor":
      return renderUsage(DOCTOR);
    case "logs":
      return renderUsage(LOGS);
  }
}

function parseRun(words: readonly string[]): CommandLine {
  const message = problemOf(words, RUN_ARGS);
  if (message !== undefined) return usageError(message);
  const args = parseArgs<typeof RUN_ARGS>([...words], RUN_ARGS);
  if (args.help) return { at: "help", of: "run" };
  const json = args.json === true;
  if (args.version) return { at: "version", json };
  const flags = runFlags(args);
  const fresh = args.fresh === true;
  if (args["detect-only"]) {
    if (json && args.why !== undefined)
      return usageError("--why is for people: --json tells it of every runtime, as evidence");
    return { at: "detect_only", detect: { json, fresh, why: args.why }, flags };
  }
  if (args.why !== undefined) return usageError("--why goes with --detect-only");
  if (fresh) return usageError("--fresh goes with --detect-only");
  if (json) return usageError("--json goes with --detect-only or --version");
  return { at: "run", flags };
}

function parseDoctor(words: readonly string[]): CommandLine {
  const message = problemOf(words, DOCTOR_ARGS);
  if (message !== undefined) return usageError(message);
  const args = parseArgs<typeof DOCTOR_ARGS>([...words], DOCTOR_ARGS);
  if (args.help) return { at: "help", of: "doctor" };
  return { at: "doctor", json: args.json === true, flags: runFlags(args) };
}

function parseLogs(words: readonly string[]): CommandLine {
  const message = problemOf(words, LOGS_ARGS);
  if (message !== undefined) return usageError(message);
  const args = parseArgs<typeof LOGS_ARGS>([...words], LOGS_ARGS);
  if (args.help) return { at: "help", of: "logs" };
  if (args.sensor === undefined) return usageError("logs needs the name of a sensor");
  const lines = Number(args.lines ?? LOG_LINES_DEFAULT);
  if (!/^\d+$/.test(args.lines ?? "0") || lines > LOG_LINES_MAX)
    return usageError(`--lines must be a whole number up to ${LOG_LINES_MAX}: ${args.lines}`);
  const logs = { sensor: args.sensor, lines, follow: args.follow === true };
  return { at: "logs", logs, flags: runFlags(args) };
}

function usageError(message: string): CommandLine {
  return { at: "usage_error", message };
}

interface ParsedSettings {
  readonly config?: string | undefined;
  readonly name?: string | undefined;
  readonly coordinator?: string | undefined;
  readonly "state-dir"?: string | undefined;
  readonly "log-level"?: string | undefined;
}

function runFlags(args: ParsedSettings): RunFlags {
  const { config, name, coordinator, "state-dir": stateDir, "log-level": logLevel } = args;
  return {
    ...(config === undefined ? {} : { config }),
    ...(name === undefined ? {} : { name }),
    ...(coordinator === undefined ? {} : { coordinator }),
    ...(stateDir === undefined ? {} : { stateDir }),
    ...(logLevel === undefined ? {} : { logLevel }),
  };
}
