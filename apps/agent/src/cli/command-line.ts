/** Parses the command line of `fleet-agent`; an unknown word is an error that names it. No I/O. (A7–A9) */
import { type ArgsDef, defineCommand, parseArgs, renderUsage } from "citty";
import type { RunFlags } from "../config/run-flags.ts";
import { problemOf } from "./flags.ts";
import { type InstallCommandLine, parseInstall } from "./install-command-line.ts";

/** The flags of `--detect-only`. `why` names the runtime to explain; `fresh` ignores the cache. */
export interface DetectFlags {
  readonly json: boolean;
  readonly fresh: boolean;
  readonly why: string | undefined;
}

/** The arguments of `fleet-agent logs`: the last `lines` lines, and with `follow` also new ones. */
export interface LogsFlags {
  readonly sensor: string;
  readonly lines: number;
  readonly follow: boolean;
}

/** A parsed command line. */
export type CommandLine =
  | { readonly at: "run"; readonly flags: RunFlags }
  | { readonly at: "detect_only"; readonly detect: DetectFlags; readonly flags: RunFlags }
  | { readonly at: "doctor"; readonly json: boolean; readonly flags: RunFlags }
  | { readonly at: "logs"; readonly logs: LogsFlags; readonly flags: RunFlags }
  | { readonly at: "version"; readonly json: boolean }
  | { readonly at: "help"; readonly of: HelpTopic }
  | InstallCommandLine;

/** The commands with a help text here; `install` has its own. */
export type HelpTopic = "run" | "doctor" | "logs";

const LOG_LINES_DEFAULT = 100;
const LOG_LINES_MAX = 1_000_000;

const HELP = { type: "boolean", alias: "h", description: "Print this help and exit" } as const;

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
    description: "Directory for identity, spool, logs and caches (FLEET_STATE_DIR)",
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
    description: "Print the interpreters of this image and exit",
  },
  why: {
    type: "string",
    valueHint: "RUNTIME",
    description: "With --detect-only: explain the result for this runtime",
  },
  fresh: {
    type: "boolean",
    description: "With --detect-only: ignore the cached result in the state directory",
  },
  json: { type: "boolean", description: "With --detect-only or --version: print JSON" },
  version: { type: "boolean", description: "Print the version and exit" },
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
    description: "Name of the sensor",
  },
  config: SETTINGS.config,
  "state-dir": SETTINGS["state-dir"],
  lines: {
    type: "string",
    valueHint: "N",
    description: `Number of last lines to print (default ${LOG_LINES_DEFAULT})`,
  },
  follow: { type: "boolean", alias: "f", description: "Also print new lines as they are written" },
  help: HELP,
} as const satisfies ArgsDef;

const RUN = defineCommand({
  meta: {
    name: "fleet-agent [run]",
    description:
      "Detects interpreters, runs sensors and sends their frames to the coordinator. Other commands, each with --help: doctor (finds problems), logs SENSOR (prints the log of a sensor), install DIR (copies this program into a shared volume)",
  },
  args: RUN_ARGS,
});

const DOCTOR = defineCommand({
  meta: {
    name: "fleet-agent doctor",
    description:
      "Checks everything the agent needs and prints a remedy for each problem; changes nothing. Exits with 1 if a check fails",
  },
  args: DOCTOR_ARGS,
});

const LOGS = defineCommand({
  meta: {
    name: "fleet-agent logs",
    description: "Prints the stderr of a sensor and the times of its starts and ends",
  },
  args: LOGS_ARGS,
});

/** Parses the arguments after the program's name. */
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
      return usageError(
        "--why can't be combined with --json, which has the evidence for every runtime",
      );
    return { at: "detect_only", detect: { json, fresh, why: args.why }, flags };
  }
  if (args.why !== undefined) return usageError("--why requires --detect-only");
  if (fresh) return usageError("--fresh requires --detect-only");
  if (json) return usageError("--json requires --detect-only or --version");
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
  if (args.sensor === undefined) return usageError("logs requires the name of a sensor");
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
