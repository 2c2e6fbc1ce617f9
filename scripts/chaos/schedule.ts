/**
 * The schedule of faults, drawn from a seed and nothing else. What an action meets depends on the machine's timing. Pure.
 */
import type { Random } from "../../packages/daemon/src/index.ts";

/** One action. `pick` in [0, 1) chooses among the targets present at that time. */
export type Action =
  /** Sends SIGKILL or SIGTERM. The agent starts again `downMs` after its end. */
  | { readonly at: "kill_agent" | "term_agent"; readonly agent: number; readonly downMs: number }
  /** Cuts the agent off, waits until everything its sensors have printed is on disk or has arrived, and sends SIGKILL. */
  | { readonly at: "kill_settled_agent"; readonly agent: number; readonly downMs: number }
  /** Sends SIGSTOP, and SIGCONT after `forMs`. */
  | { readonly at: "freeze_agent"; readonly agent: number; readonly forMs: number }
  | { readonly at: "kill_coordinator" | "term_coordinator"; readonly downMs: number }
  | { readonly at: "freeze_coordinator"; readonly forMs: number }
  /** Sends SIGSTOP, and SIGKILL after `afterMs`, so that some frames are unread. */
  | { readonly at: "kill_tracker"; readonly pick: number; readonly afterMs: number }
  | { readonly at: "freeze_tracker"; readonly pick: number; readonly forMs: number }
  /** Freezes all trackers, and resets all connections half-way, so that frames waiting for trackers are sent again. */
  | { readonly at: "freeze_trackers_and_cut"; readonly forMs: number }
  /** Resets a connection after `afterBytes` more bytes towards the coordinator. */
  | { readonly at: "cut"; readonly pick: number; readonly afterBytes: number }
  /** Stalls a connection in both directions. */
  | { readonly at: "stall"; readonly pick: number; readonly forMs: number }
  /** Half-opens a connection: nothing passes, not even the close of one end. Resets it after `forMs`. */
  | { readonly at: "half_open"; readonly pick: number; readonly forMs: number }
  /** Resets all connections, including new ones, for `forMs`. */
  | { readonly at: "partition"; readonly forMs: number }
  | { readonly at: "fill_agent"; readonly agent: number; readonly forMs: number }
  | { readonly at: "fill_coordinator"; readonly forMs: number }
  /** A plain node closes its connection in good order and opens another. */
  | { readonly at: "reconnect_plain"; readonly pick: number };

/** An action and its time since the start of the chaos. */
export interface Step {
  readonly atMs: number;
  readonly action: Action;
}

/** The size of the fleet and the length of the schedule. */
export interface ScheduleOptions {
  readonly agents: number;
  readonly durationMs: number;
  /** Whether disks can be filled. */
  readonly hasDisks: boolean;
}

const GAP_MS_MEAN = 300;
const GAP_MS_MAX = 2000;
/** Share of the time in which actions begin. The rest lets them finish. */
const ACTIVE_SHARE = 0.95;

type Draw = (dice: Dice) => Action;

const KINDS: readonly (readonly [weight: number, draw: Draw])[] = [
  [28, (d) => ({ at: "cut", pick: d.fraction(), afterBytes: d.whole(0, 20_000) })],
  [10, (d) => ({ at: "stall", pick: d.fraction(), forMs: d.whole(20, 1500) })],
  [2, (d) => ({ at: "half_open", pick: d.fraction(), forMs: d.whole(3000, 45_000) })],
  [5, (d) => ({ at: "partition", forMs: d.whole(50, 2500) })],
  [6, (d) => ({ at: "kill_agent", agent: d.agent(), downMs: d.whole(0, 2000) })],
  [4, (d) => ({ at: "kill_settled_agent", agent: d.agent(), downMs: d.whole(0, 2000) })],
  [4, (d) => ({ at: "term_agent", agent: d.agent(), downMs: d.whole(0, 5000) })],
  [5, (d) => ({ at: "freeze_agent", agent: d.agent(), forMs: d.whole(50, 2500) })],
  [4, (d) => ({ at: "kill_coordinator", downMs: d.whole(0, 2500) })],
  [3, (d) => ({ at: "term_coordinator", downMs: d.whole(0, 2500) })],
  [3, (d) => ({ at: "freeze_coordinator", forMs: d.whole(50, 2000) })],
  [10, (d) => ({ at: "kill_tracker", pick: d.fraction(), afterMs: d.whole(0, 1500) })],
  [7, (d) => ({ at: "freeze_tracker", pick: d.fraction(), forMs: d.whole(200, 4000) })],
  [6, (d) => ({ at: "freeze_trackers_and_cut", forMs: d.whole(1000, 4000) })],
  [4, (d) => ({ at: "reconnect_plain", pick: d.fraction() })],
];
const DISK_KINDS: readonly (readonly [weight: number, draw: Draw])[] = [
  [5, (d) => ({ at: "fill_agent", agent: d.agent(), forMs: d.whole(200, 5000) })],
  [2, (d) => ({ at: "fill_coordinator", forMs: d.whole(200, 4000) })],
];

/** Returns the whole schedule, which depends only on `random` and the options. */
export function makeSchedule(random: Random, options: ScheduleOptions): readonly Step[] {
  const { agents, durationMs, hasDisks } = options;
  const kinds = hasDisks ? [...KINDS, ...DISK_KINDS] : KINDS;
  const dice = new Dice(random, agents);
  const steps: Step[] = [];
  for (let atMs = dice.gapMs(); atMs < durationMs * ACTIVE_SHARE; atMs += dice.gapMs())
    steps.push({ atMs, action: dice.oneOf(kinds)(dice) });
  return steps;
}

/** Formats an action like `kill_agent agent=1 downMs=300`. */
export function describeAction({ at, ...rest }: Action): string {
  return [
    at,
    ...Object.entries(rest).map(([name, value]) => `${name}=${formatNumber(value)}`),
  ].join(" ");
}

function formatNumber(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(3);
}

class Dice {
  readonly #random: Random;
  readonly #agents: number;

  constructor(random: Random, agents: number) {
    this.#random = random;
    this.#agents = agents;
  }

  fraction(): number {
    return this.#random.next();
  }

  /** Draws from a logarithmic distribution, so that every order of magnitude is equally likely. */
  whole(min: number, max: number): number {
    const span = Math.log(max - min + 1);
    return min + Math.floor(Math.exp(this.fraction() * span)) - 1;
  }

  agent(): number {
    return Math.floor(this.fraction() * this.#agents);
  }

  gapMs(): number {
    return Math.min(GAP_MS_MAX, Math.ceil(-GAP_MS_MEAN * Math.log(1 - this.fraction())));
  }

  oneOf(kinds: readonly (readonly [number, Draw])[]): Draw {
    const all = kinds.reduce((sum, [weight]) => sum + weight, 0);
    let left = this.fraction() * all;
    for (const [weight, draw] of kinds) {
      left -= weight;
      if (left < 0) return draw;
    }
    return kinds[0]![1];
  }
}
