/**
 * The rules that must hold once the fleet is at rest. Each check returns a sentence for every violation. docs/protocol.md and
 * docs/spool.md explain what may happen to a frame. Pure.
 */
import type { SensorCounters } from "../../packages/protocol/src/index.ts";
import type { Policy } from "./parts/agent.ts";
import {
  type FrameKey,
  keyOf,
  numberOf,
  runOf,
  type SensorRun,
  type TrackerInput,
} from "./frames.ts";

/** A sensor's run, and the frames that must survive it. */
export interface SensorFacts extends SensorRun {
  /** After a `hard` end, the last frames may be lost if they were in no batch and not acknowledged. */
  readonly end: "soft" | "hard";
  /** For a hard end: the last frame that must arrive. */
  readonly promised: number;
  /** For a hard end: the last frame that was on disk. All frames up to it are counted. */
  readonly written: number;
}

/** A stream's tracker inputs, and which lives of the coordinator ended with a kill. */
export interface InputFacts {
  readonly stream: string;
  readonly inputs: readonly TrackerInput[];
  readonly isKilledLife: (life: number) => boolean;
}

/** Everything known about a sensor's stream. */
export interface SensorStreamFacts extends InputFacts {
  readonly policy: Policy;
  readonly runs: readonly SensorFacts[];
  readonly counters: SensorCounters;
}

/** Everything known about a plain node's stream. */
export interface PlainStreamFacts extends InputFacts {
  readonly connections: readonly {
    readonly id: number;
    readonly sent: number;
    /** Whether it ended in good order in the coordinator's last life. */
    readonly isWhole: boolean;
  }[];
  /** Frames that the coordinator dropped in its last life. */
  readonly dropped: number;
  /** Frames that the coordinator accepted in its last life. */
  readonly accepted: number;
  readonly lastLife: number;
}

/** Checks a stream of an agent's sensor. */
export function sensorProblems(facts: SensorStreamFacts): readonly string[] {
  const arrived = arrivedIn(facts.inputs);
  return [
    ...facts.inputs.flatMap((input, i) => orderProblems(facts.stream, i, input, isRising)),
    ...redeliveryProblems(facts),
    ...inventedProblems(facts, arrived),
    ...missingProblems(facts, arrived),
    ...balanceProblems(facts, arrived),
  ];
}

/** Checks a stream of a plain node. */
export function plainProblems(facts: PlainStreamFacts): readonly string[] {
  const { stream, connections, dropped, accepted, inputs, lastLife } = facts;
  const arrived = arrivedIn(inputs);
  const problems = [
    // The coordinator may still read one connection while it reads the next, so only each by itself is in order.
    ...inputs.flatMap((input, i) => orderProblems(stream, i, input, isRisingByRun)),
    ...redeliveryProblems(facts),
  ];
  let missing = 0;
  for (const { id, sent, isWhole } of connections) {
    if (!isWhole) continue;
    for (let n = 1; n <= sent; n++) if (!arrived.has(keyOf(id, n))) missing++;
  }
  if (missing > dropped)
    problems.push(
      `${stream}: ${missing} frames of connections that ended in good order are missing, but the coordinator counts ${dropped} as dropped`,
    );
  const last = inputs.filter(({ life }) => life === lastLife);
  const read = sum(last.map(({ frames }) => frames.length));
  const isUnbroken =
    last.length > 0 && last.every(({ isEnded }, i) => isEnded || i === last.length - 1);
  if (isUnbroken && read !== accepted)
    problems.push(
      `${stream}: its tracker has read ${read} frames, but the coordinator counts ${accepted}`,
    );
  return problems;
}

/** Reports whether `produced = acked + spooled + Σ dropped`. */
export function isBalanced({ produced, acked, spooled, dropped }: SensorCounters): boolean {
  return produced === acked + spooled + sum(Object.values(dropped));
}

function arrivedIn(inputs: readonly TrackerInput[]): ReadonlySet<FrameKey> {
  const arrived = new Set<FrameKey>();
  for (const { frames } of inputs) for (const key of frames) arrived.add(key);
  return arrived;
}

/** Whether `key` may follow `before`; `last` holds the last frame of each run. */
type Order = (before: FrameKey, key: FrameKey, last: ReadonlyMap<number, FrameKey>) => boolean;

function isRising(before: FrameKey, key: FrameKey): boolean {
  return key > before;
}

function isRisingByRun(_before: FrameKey, key: FrameKey, last: ReadonlyMap<number, FrameKey>) {
  return key > (last.get(runOf(key)) ?? -1);
}

/** Within one run of a tracker, each frame must arrive once and in order. */
function orderProblems(
  stream: string,
  i: number,
  { frames }: TrackerInput,
  isNext: Order,
): string[] {
  let before = -1;
  const last = new Map<number, FrameKey>();
  for (const key of frames) {
    if (!isNext(before, key, last)) {
      const what = key === before ? "twice in a row" : `after ${describe(before)}`;
      return [`${stream}: input ${i + 1} of its tracker has ${describe(key)} ${what}`];
    }
    last.set(runOf(key), key);
    before = key;
  }
  return [];
}

/** A later run of a tracker may receive a frame again only if a tracker or the coordinator was killed since the first time. */
function redeliveryProblems({ stream, inputs, isKilledLife }: InputFacts): string[] {
  let settled = new Set<FrameKey>();
  let open = new Set<FrameKey>();
  const problems: string[] = [];
  for (const [i, { frames, isEnded, life }] of inputs.entries()) {
    const again = frames.find((key) => settled.has(key));
    if (again !== undefined)
      problems.push(
        `${stream}: input ${i + 1} of its tracker has ${describe(again)} again, although nothing was killed since`,
      );
    for (const key of frames) open.add(key);
    if (isEnded && !isKilledLife(life)) {
      settled = settled.union(open);
      open = new Set();
    }
  }
  return problems;
}

function inventedProblems(facts: SensorStreamFacts, arrived: ReadonlySet<FrameKey>): string[] {
  const begun = new Map(facts.runs.map(({ run, begun: n }) => [run, n]));
  for (const key of arrived)
    if (numberOf(key) > (begun.get(runOf(key)) ?? 0))
      return [`${facts.stream}: its tracker received ${describe(key)}, which was never printed`];
  return [];
}

function missingProblems(facts: SensorStreamFacts, arrived: ReadonlySet<FrameKey>): string[] {
  const { stream, policy, counters } = facts;
  const dropped = sum(Object.values(counters.dropped));
  const problems: string[] = [];
  if (policy !== "drops" && dropped > 0)
    problems.push(
      `${stream}: nothing may be dropped, but ${JSON.stringify(counters.dropped)} were`,
    );
  let missing = 0;
  let first: FrameKey | undefined;
  for (const { run, end, done, promised, begun } of facts.runs) {
    const due = end === "soft" ? done : promised;
    let last = 0;
    for (let n = 1; n <= begun; n++) {
      const isThere = arrived.has(keyOf(run, n));
      if (isThere) last = n;
      if (isThere || n > due) continue;
      missing++;
      first ??= keyOf(run, n);
    }
    if (policy === "drops") continue;
    // A kill may lose the last frames, but none before a frame that arrived.
    for (let n = due + 1; n < last; n++)
      if (!arrived.has(keyOf(run, n)))
        problems.push(
          `${stream}: ${describe(keyOf(run, n))} is missing, although later ones arrived`,
        );
  }
  if (missing > (policy === "drops" ? dropped : 0))
    problems.push(
      `${stream}: ${missing} frames never reached its tracker, the first being ${describe(first!)}; ${dropped} are counted as dropped`,
    );
  return problems;
}

function balanceProblems(facts: SensorStreamFacts, arrived: ReadonlySet<FrameKey>): string[] {
  const { stream, counters, runs } = facts;
  const { produced, acked, spooled, dropped } = counters;
  const text = JSON.stringify(counters);
  const problems: string[] = [];
  if (!isBalanced(counters)) problems.push(`${stream}: the balance does not hold: ${text}`);
  if (spooled !== 0) problems.push(`${stream}: frames are left in the spool at rest: ${text}`);
  const soft = sum(runs.filter(({ end }) => end === "soft").map(({ done }) => done));
  const hard = runs.filter(({ end }) => end === "hard");
  const least = soft + sum(hard.map(({ written }) => written));
  const most = soft + sum(hard.map(({ begun }) => begun));
  if (produced < least || produced > most) {
    const range = least === most ? `${most}` : `${least} to ${most}`;
    problems.push(`${stream}: ${range} frames were produced, but ${produced} are counted`);
  }
  // Frames of a killed run that were neither written nor acknowledged are not counted, yet may have arrived.
  const uncounted = most - least;
  const lost = sum(Object.values(dropped));
  if (acked > arrived.size || acked + lost + uncounted < arrived.size)
    problems.push(`${stream}: ${arrived.size} frames have arrived, but the counters are ${text}`);
  return problems;
}

function describe(key: FrameKey): string {
  return key < 0 ? "nothing" : `frame ${numberOf(key)} of run ${runOf(key)}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, n) => all + n, 0);
}
