/** Parses the command line of `fleet-agent install`. No I/O. (A2) */
import { type ArgsDef, defineCommand, parseArgs, renderUsage } from "citty";
import { EXIT_USAGE } from "./exit-codes.ts";
import { problemOf } from "./flags.ts";
import { FAILURES } from "../install/failure.ts";
import type { InstallFlags } from "../install/main.ts";

/** A parsed command line. */
export type InstallCommandLine =
  | { readonly at: "install"; readonly flags: InstallFlags }
  | { readonly at: "install_help" }
  | { readonly at: "usage_error"; readonly message: string };

const MODE_DEFAULT = 0o755;
/** The agent's loader reads its own file, so a user who may run it must also be able to read it. */
const MODE_NEEDED = 0o500;

const ARGS = {
  dir: {
    type: "positional",
    required: false,
    valueHint: "DIR",
    description: "An existing directory, such as the volume shared with the other containers",
  },
  mode: {
    type: "string",
    valueHint: "MODE",
    description: `Permissions of the file, octal (default 0${MODE_DEFAULT.toString(8)})`,
  },
  json: { type: "boolean", description: "Print the result as JSON" },
  help: { type: "boolean", alias: "h", description: "Print this help and exit" },
} as const satisfies ArgsDef;

const COMMAND = defineCommand({
  meta: {
    name: "fleet-agent install",
    description: "Copies this program to DIR/fleet-agent, completely or not at all",
  },
  args: ARGS,
});

/** Parses the arguments after `install`. */
export function parseInstall(words: readonly string[]): InstallCommandLine {
  const message = problemOf(words, ARGS);
  if (message !== undefined) return { at: "usage_error", message };
  const args = parseArgs<typeof ARGS>([...words], ARGS);
  if (args.help) return { at: "install_help" };
  if (args.dir === undefined) return { at: "usage_error", message: "install requires a directory" };
  const mode = args.mode === undefined ? MODE_DEFAULT : parseMode(args.mode);
  if (mode === undefined)
    return {
      at: "usage_error",
      message: `--mode must be octal, at most 0777, and allow the owner to read and execute: ${args.mode}`,
    };
  return { at: "install", flags: { dir: args.dir, mode, json: args.json === true } };
}

/** The text of `install --help`, exit codes included. */
export async function installUsage(): Promise<string> {
  const codes = Object.values(FAILURES).map(({ exit, meaning }) => `  ${exit}  ${meaning}`);
  return [
    await renderUsage(COMMAND),
    "\nEXIT CODES\n",
    "   0  installed, or already there",
    `  ${EXIT_USAGE}  the command line is not valid`,
    ...codes,
    "",
  ].join("\n");
}

function parseMode(text: string): number | undefined {
  if (!/^[0-7]{3,4}$/.test(text)) return undefined;
  const mode = Number.parseInt(text, 8);
  return mode <= 0o777 && (mode & MODE_NEEDED) === MODE_NEEDED ? mode : undefined;
}
