/** Parses the command line of `bun run chaos`. No I/O. */
import { parseArgs } from "node:util";

/** The options of a chaos test. */
export interface ChaosOptions {
  /** Fixes the schedule; 0 … 2³² − 1. */
  readonly seed: number;
  /** How long faults are injected. Start and rest take more time. */
  readonly minutes: number;
  readonly agents: number;
  /** Keep logs and records even if nothing is violated. */
  readonly keep: boolean;
}

/** A parsed command line. */
export type CommandLine =
  | { readonly at: "run"; readonly options: ChaosOptions }
  | { readonly at: "help" }
  | { readonly at: "usage_error"; readonly message: string };

const SEED_MAX = 2 ** 32 - 1;
const MINUTES_MAX = 24 * 60;
const AGENTS_MAX = 16;

export const USAGE = `usage: bun run chaos [--seed N] [--minutes M] [--agents N] [--keep]

Runs a fleet on this machine and breaks it: kills, stops and disconnects agents, coordinator and trackers, and fills their
disks. Then lets the fleet come to rest and checks that no frame is lost that must not be, and that every frame is
accounted for.

  --seed N      seed of the schedule of faults (default random); their exact timing depends on the machine
  --minutes M   how long to inject faults, 0.1 to ${MINUTES_MAX} (default 1)
  --agents N    number of agents, 1 to ${AGENTS_MAX} (default 3), each with two sensors; two plain nodes run beside them
  --keep        keep logs and records even if the test passes
  --help        print this help
`;

/** Parses the arguments that follow the script's name. `seed` is the default. */
export function parseOptions(argv: readonly string[], seed: number): CommandLine {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        seed: { type: "string", default: String(seed) },
        minutes: { type: "string", default: "1" },
        agents: { type: "string", default: "3" },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return { at: "help" };
    return {
      at: "run",
      options: {
        seed: numberFrom("--seed", values.seed, /^\d{1,10}$/, 0, SEED_MAX),
        minutes: numberFrom("--minutes", values.minutes, /^\d+(\.\d+)?$/, 0.1, MINUTES_MAX),
        agents: numberFrom("--agents", values.agents, /^\d{1,3}$/, 1, AGENTS_MAX),
        keep: values.keep,
      },
    };
  } catch (error) {
    return { at: "usage_error", message: (error as Error).message };
  }
}

function numberFrom(flag: string, text: string, form: RegExp, min: number, max: number): number {
  const value = form.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new Error(`${flag} must be a number from ${min} to ${max}, not "${text}"`);
}
