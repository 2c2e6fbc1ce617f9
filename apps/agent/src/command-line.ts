/** The command line of `fleet-agent`, read strictly: what it does not know is an error that names it. No I/O. (A7, A8) */
import { type ArgsDef, defineCommand, parseArgs, renderUsage } from "citty";

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
  | { readonly at: "usage_error"; readonly message: string };

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
    description: "Detects interpreters, runs sensors and sends their frames to the coordinator",
  },
  args: ARGS,
});

/** Reads the arguments after the program's name. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const words = argv[0] === "run" ? argv.slice(1) : argv;
  const message = problemOf(words);
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

/** What is wrong with the words, since the parser takes anything. */
function problemOf(words: readonly string[]): string | undefined {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "-h") continue;
    if (!word.startsWith("--")) return `unknown argument: ${word}`;
    const [name, value] = splitFlag(word);
    if (!Object.hasOwn(ARGS, name)) return `unknown flag: --${name}`;
    const { type } = ARGS[name as keyof typeof ARGS];
    if (type === "boolean") {
      if (value !== undefined) return `--${name} takes no value`;
      continue;
    }
    const given = value ?? words[++i];
    if (given === undefined || given === "" || (value === undefined && given.startsWith("-")))
      return `--${name} needs a value`;
  }
  return undefined;
}

function splitFlag(word: string): [name: string, value: string | undefined] {
  const equals = word.indexOf("=");
  return equals < 0 ? [word.slice(2), undefined] : [word.slice(2, equals), word.slice(equals + 1)];
}
