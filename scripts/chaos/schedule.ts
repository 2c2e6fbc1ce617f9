/**
 * What is done to the fleet, and when: drawn from a seed, and from nothing else. What it meets, the machine's timing decides.
 * Pure.
 */
import type { Random } from "../../packages/daemon/src/index.ts";

/** One thing that is done. `pick` in [0, 1) chooses among what is there at that time. */
export type Action =
  /** SIGKILL, and a new start `downMs` after its end. */
  | { readonly at: "kill_agent" | "term_agent"; readonly agent: number; readonly downMs: number }
  /** SIGKILL with the coordinator out of reach, once all that its sensors have printed is on disk, or did arrive. */
  | { readonly at: "kill_settled_agent"; readonly agent: number; readonly downMs: number }
  /** SIGSTOP, and CONT after `forMs`. */
  | { readonly at: "freeze_agent"; readonly agent: number; readonly forMs: number }
  | { readonly at: "kill_coordinator" | "term_coordinator"; readonly downMs: number }
  | { readonly at: "freeze_coordinator"; readonly forMs: number }
  /** SIGSTOP, and SIGKILL `afterMs`, so that there is something it has not read. */
  | { readonly at: "kill_tracker"; readonly pick: number; readonly afterMs: number }
  | { readonly at: "freeze_tracker"; readonly pick: number; readonly forMs: number }
  /** The same with all of them, and half-way all connections are reset: what waits for trackers is sent again. */
  | { readonly at: "freeze_trackers_and_cut"; readonly forMs: number }
  /** A connection is reset after so many more bytes towards the coordinator. */
  | { readonly at: "cut"; readonly pick: number; readonly afterBytes: number }
  /** Nothing passes for a while, in either direction. */
  | { readonly at: "stall"; readonly pick: number; readonly forMs: number }
  /** Nothing passes any more, nor the end of either side; the wire is gone after `forMs`. */
  | { readonly at: "half_open"; readonly pick: number; readonly forMs: number }
  /** All connections are reset, and new ones for `forMs`. */
  | { readonly at: "partition"; readonly forMs: number }
  | { readonly at: "fill_agent"; readonly agent: number; readonly forMs: number }
  | { readonly at: "fill_coordinator"; readonly forMs: number }
  /** A plain node closes its connection in good order and opens another. */
  | { readonly at: "reconnect_plain"; readonly pick: number };

/** An action and its time since the chaos began. */
export interface Step {
  readonly atMs: number;
  readonly action: Action;
}

/** How large the fleet is and how long it goes. */
export interface ScheduleOptions {
  readonly agents: number;
  readonly durationMs: number;
  /** Without it no disk is filled. */
  readonly hasDisks: boolean;
}

const GAP_MS_MEAN = 300;
const GAP_MS_MAX = 2000;
/** Towards the end nothing new is begun, so that what was begun is over. */
const QUIET_PART = 0.95;

type Draw = (dice: Dice) => Action;

const KINDS: readonly (readonly [weight: number, draw: Draw])[] = [
  [28, (d) => ({ at: "cut", pick: d.part(), afterBytes: d.whole(0, 20_000) })],
  [10, (d) => ({ at: "stall", pick: d.part(), forMs: d.whole(20, 1500) })],
  [2, (d) => ({ at: "half_open", pick: d.part(), forMs: d.whole(3000, 45_000) })],
  [5, (d) => ({ at: "partition", forMs: d.whole(50, 2500) })],
  [6, (d) => ({ at: "kill_agent", agent: d.agent(), downMs: d.whole(0, 2000) })],
  [4, (d) => ({ at: "kill_settled_agent", agent: d.agent(), downMs: d.whole(0, 2000) })],
  [4, (d) => ({ at: "term_agent", agent: d.agent(), downMs: d.whole(0, 5000) })],
  [5, (d) => ({ at: "freeze_agent", agent: d.agent(), forMs: d.whole(50, 2500) })],
  [4, (d) => ({ at: "kill_coordinator", downMs: d.whole(0, 2500) })],
  [3, (d) => ({ at: "term_coordinator", downMs: d.whole(0, 2500) })],
  [3, (d) => ({ at: "freeze_coordinator", forMs: d.whole(50, 2000) })],
  [10, (d) => ({ at: "kill_tracker", pick: d.part(), afterMs: d.whole(0, 1500) })],
  [7, (d) => ({ at: "freeze_tracker", pick: d.part(), forMs: d.whole(200, 4000) })],
  [6, (d) => ({ at: "freeze_trackers_and_cut", forMs: d.whole(1000, 4000) })],
  [4, (d) => ({ at: "reconnect_plain", pick: d.part() })],
];
const DISK_KINDS: readonly (readonly [weight: number, draw: Draw])[] = [
  [5, (d) => ({ at: "fill_agent", agent: d.agent(), forMs: d.whole(200, 5000) })],
  [2, (d) => ({ at: "fill_coordinator", forMs: d.whole(200, 4000) })],
];

/** The whole schedule; the same for the same seed and options. */
export function makeSchedule(random: Random, options: ScheduleOptions): readonly Step[] {
  const { agents, durationMs, hasDisks } = options;
  const kinds = hasDisks ? [...KINDS, ...DISK_KINDS] : KINDS;
  const dice = new Dice(random, agents);
  const steps: Step[] = [];
  for (let atMs = dice.gapMs(); atMs < durationMs * QUIET_PART; atMs += dice.gapMs())
    steps.push({ atMs, action: dice.oneOf(kinds)(dice) });
  return steps;
}

/** `kill_agent agent=1 downMs=300`. */
export function describeAction({ at, ...rest }: Action): string {
  return [at, ...Object.entries(rest).map(([name, value]) => `${name}=${brief(value)}`)].join(" ");
}

function brief(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(3);
}

class Dice {
  readonly #random: Random;
  readonly #agents: number;

  constructor(random: Random, agents: number) {
    this.#random = random;
    this.#agents = agents;
  }

  part(): number {
    return this.#random.next();
  }

  /** Small ones are as likely as large ones: its size is drawn first. */
  whole(min: number, max: number): number {
    const span = Math.log(max - min + 1);
    return min + Math.floor(Math.exp(this.part() * span)) - 1;
  }

  agent(): number {
    return Math.floor(this.part() * this.#agents);
  }

  gapMs(): number {
    return Math.min(GAP_MS_MAX, Math.ceil(-GAP_MS_MEAN * Math.log(1 - this.part())));
  }

  oneOf(kinds: readonly (readonly [number, Draw])[]): Draw {
    const all = kinds.reduce((sum, [weight]) => sum + weight, 0);
    let left = this.part() * all;
    for (const [weight, draw] of kinds) {
      left -= weight;
      if (left < 0) return draw;
    }
    return kinds[0]![1];
  }
}
