/** The command line of `bun run demo`, read strictly. No I/O. */
import { parseArgs } from "node:util";

/** What the demo is to do. Ports are those of the coordinator, on loopback. */
export interface DemoOptions {
  /** Run for a while, check, and say what is missing, instead of showing the live screen. */
  readonly once: boolean;
  /** How long to run, s; undefined: until it is stopped. */
  readonly seconds: number | undefined;
  readonly httpPort: number;
  readonly framesPort: number;
  /** Leave the data and the logs behind. */
  readonly keep: boolean;
}

/** What was asked for. */
export type Asked =
  | { readonly at: "run"; readonly options: DemoOptions }
  | { readonly at: "help" }
  | { readonly at: "usage_error"; readonly message: string };

const ONCE_S = 20;
const SECONDS_MAX = 86_400;
const PORT_MAX = 65_535;

export const USAGE = `usage: bun run demo [--once] [--seconds N] [--http-port PORT] [--frames-port PORT] [--keep]

Starts a coordinator and four nodes on this machine, whose sensors replay radar frames, and shows what becomes of them.

  --once              run ${ONCE_S} s, check that every node is LIVE and has confirmed tracks, exit 0 or say what is missing
  --seconds N         end after N seconds
  --http-port PORT    the coordinator's HTTP port (7700)
  --frames-port PORT  the coordinator's port for frames (30050)
  --keep              leave the data directory and the logs behind
  --help              print this
`;

/** Reads the arguments after the script's name. */
export function parseOptions(argv: readonly string[]): Asked {
  try {
    return read(argv);
  } catch (error) {
    return { at: "usage_error", message: (error as Error).message };
  }
}

function read(argv: readonly string[]): Asked {
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
