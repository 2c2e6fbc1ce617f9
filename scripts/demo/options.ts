/** Parses the command line of `bun run demo`. No I/O. */
import { parseArgs } from "node:util";

/** The demo's options. Ports are the coordinator's, on loopback. */
export interface DemoOptions {
  /** Run for a while, check, and report what is missing, instead of showing the live screen. */
  readonly once: boolean;
  /** How long to run, in seconds; undefined runs until stopped. */
  readonly seconds: number | undefined;
  readonly httpPort: number;
  readonly framesPort: number;
  /** Keep the data and the logs. */
  readonly keep: boolean;
}

/** A parsed command line. */
export type CommandLine =
  | { readonly at: "run"; readonly options: DemoOptions }
  | { readonly at: "help" }
  | { readonly at: "usage_error"; readonly message: string };

const ONCE_S = 20;
const SECONDS_MAX = 86_400;
const PORT_MAX = 65_535;

export const USAGE = `usage: bun run demo [--once] [--seconds N] [--http-port PORT] [--frames-port PORT] [--keep]

Runs a coordinator and four nodes on this machine and shows their state. The sensors replay recorded radar frames.

  --once              run for ${ONCE_S} s; exit 0 if every node is LIVE and has confirmed tracks, or print what is missing and exit 1
  --seconds N         stop after N seconds
  --http-port PORT    HTTP port of the coordinator (default 7700)
  --frames-port PORT  port of the coordinator for frames (default 30050)
  --keep              keep the data directory and the logs
  --help              print this help
`;

/** Parses the arguments that follow the script's name. */
export function parseOptions(argv: readonly string[]): CommandLine {
  try {
    return read(argv);
  } catch (error) {
    return { at: "usage_error", message: (error as Error).message };
  }
}

function read(argv: readonly string[]): CommandLine {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      once: { type: "boolean", default: false },
      seconds: { type: "string" },
      "http-port": { type: "string", default: "7700" },
      "frames-port": { type: "string", default: "30050" },
      keep: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return { at: "help" };
  const { once, keep, seconds } = values;
  const httpPort = wholeNumber("--http-port", values["http-port"], PORT_MAX);
  const framesPort = wholeNumber("--frames-port", values["frames-port"], PORT_MAX);
  if (httpPort === framesPort) throw new Error("--http-port and --frames-port must differ");
  const given = seconds === undefined ? undefined : wholeNumber("--seconds", seconds, SECONDS_MAX);
  return {
    at: "run",
    options: { once, seconds: given ?? (once ? ONCE_S : undefined), httpPort, framesPort, keep },
  };
}

function wholeNumber(flag: string, text: string, max: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= max) return value;
  throw new Error(`${flag} must be a whole number from 1 to ${max}, not "${text}"`);
}
