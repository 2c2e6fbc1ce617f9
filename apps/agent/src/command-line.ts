/** The command line of `fleet-agent`, read strictly: what it does not know is an error that names it. No I/O. (A7, A8) */
import { type ArgsDef, defineCommand, parseArgs, renderUsage } from "citty";
import { problemOf } from "./flags.ts";
import { type InstallCommandLine, parseInstall } from "./install/command-line.ts";

/** The flags of `fleet-agent run`, as they were written. Each wins over its variable and its key in the file. */
export interface RunFlags {
  readonly config?: string;
  readonly name?: string;
  readonly coordinator?: string;
  readonly stateDir?: string;
  readonly logLevel?: string;
}

/** What was asked for. */
export type CommandLine =
  | { readonly at: "run"; readonly flags: RunFlags }
  | { readonly at: "detect_only"; readonly json: boolean; readonly flags: RunFlags }
  | { readonly at: "version"; readonly json: boolean }
  | { readonly at: "help" }
  | InstallCommandLine;

const ARGS = {
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
    description: "Where the identity is kept (FLEET_STATE_DIR)",
  },
  "log-level": {
    type: "string",
    valueHint: "LEVEL",
    description: "trace, debug, info, warn, error or silent (default info)",
  },
  "detect-only": {
    type: "boolean",
    description: "Print which interpreters this image has, and exit",
  },
  json: { type: "boolean", description: "With --detect-only or --version: print JSON" },
  version: { type: "boolean", description: "Print the version, and exit" },
  help: { type: "boolean", alias: "h", description: "Print this, and exit" },
} as const satisfies ArgsDef;

const COMMAND = defineCommand({
  meta: {
    name: "fleet-agent [run]",
    description:
      "Detects interpreters, runs sensors and sends their frames to the coordinator. fleet-agent install DIR puts it into a shared volume (see fleet-agent install --help)",
  },
  args: ARGS,
});

/** Reads the arguments after the program's name. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  if (argv[0] === "install") return parseInstall(argv.slice(1));
  const words = argv[0] === "run" ? argv.slice(1) : argv;
  const message = problemOf(words, ARGS);
  if (message !== undefined) return { at: "usage_error", message };
  const args = parseArgs<typeof ARGS>([...words], ARGS);
  if (args.help) return { at: "help" };
  const json = args.json === true;
  if (args.version) return { at: "version", json };
  const flags: RunFlags = {
    ...(args.config === undefined ? {} : { config: args.config }),
    ...(args.name === undefined ? {} : { name: args.name }),
    ...(args.coordinator === undefined ? {} : { coordinator: args.coordinator }),
    ...(args["state-dir"] === undefined ? {} : { stateDir: args["state-dir"] }),
    ...(args["log-level"] === undefined ? {} : { logLevel: args["log-level"] }),
  };
  if (args["detect-only"]) return { at: "detect_only", json, flags };
  if (json) return { at: "usage_error", message: "--json goes with --detect-only or --version" };
  return { at: "run", flags };
}

/** The text of `--help`. */
export function usage(): Promise<string> {
  return renderUsage(COMMAND);
}
