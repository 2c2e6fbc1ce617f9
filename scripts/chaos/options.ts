/** The command line of `bun run chaos`, read strictly. No I/O. */
import { parseArgs } from "node:util";

/** What the chaos is to be. */
export interface ChaosOptions {
  /** Decides the schedule, 0 … 2³² − 1. */
  readonly seed: number;
  /** How long things are broken; what comes before and after is not counted. */
  readonly minutes: number;
  readonly agents: number;
  /** Leave the logs and records behind even when all is well. */
  readonly keep: boolean;
}

/** What was asked for. */
export type Asked =
  | { readonly at: "run"; readonly options: ChaosOptions }
  | { readonly at: "help" }
  | { readonly at: "usage_error"; readonly message: string };

const SEED_MAX = 2 ** 32 - 1;
const MINUTES_MAX = 24 * 60;
const AGENTS_MAX = 16;

export const USAGE = `usage: bun run chaos [--seed N] [--minutes M] [--agents N] [--keep]

Runs agents, a coordinator and trackers on this machine, kills, stops and disconnects them and fills their disks, lets all
come to rest, and checks that no frame was lost that should not have been, and that every one is accounted for.

  --seed N      the schedule of what happens (another one each time); when exactly, the machine decides
  --minutes M   how long, 0.1 to ${MINUTES_MAX} (1)
  --agents N    agents, 1 to ${AGENTS_MAX} (3), each with two sensors; plain nodes are added
  --keep        leave logs and records behind, not only after a failure
  --help        print this
`;

/** Reads the arguments after the script's name. `seed` is taken when none is given. */
export function parseOptions(argv: readonly string[], seed: number): Asked {
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
