/**
 * Quality and speed of fleet-tracker: `bun scripts/bench/tracker.ts [--short] [--data DIR] [--only TEXT] [--seed N]
 * [--command "…"]`. Measures generated skies of many kinds, then the recorded sets in DIR, with the public tracker's figures
 * below. Each set is sent over TCP to a new process, all at once. Frames per second count from the first byte sent to the last
 * byte of events; of a recorded set, the best of three runs counts. That includes the warm-up of a new process, so "sustained"
 * is the rate for a recorded set ten times over, a backlog of 100 minutes.
 *
 *   --short      one sky of each kind, and one run
 *   --data DIR   the recorded sets (default `../shared/data` beside the repository)
 *   --only TEXT  only kinds with TEXT in their name
 *   --seed N     seed of the first sky
 *   --command …  another tracker with the same command line (default fleet-tracker from source)
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ensureInstalled } from "../lib/install.ts";
import { root } from "../lib/root.ts";
import { table } from "./shared/figures.ts";
import { recordedSets } from "./tracker/recorded-sets.ts";
import { track, trackRepeatedly } from "./tracker/run.ts";
import { addScores, type Score, scoreEvents } from "./tracker/score.ts";
import { generatedSets } from "./tracker/generated-sets.ts";
import { makeSky } from "./tracker/sky.ts";

const SKIES = 4;
const RUNS = 3;

/** How often a recorded set is repeated in one process. */
const SUSTAINED_TIMES = 10;

type Timed = Score & { readonly framesPerS: number; readonly sustainedPerS?: number };

const COLUMNS: readonly (readonly [string, (score: Timed) => string])[] = [
  ["covered", (s) => `${s.covered}/${s.targets}`],
  ["time cov.", (s) => s.timeCoverage.toFixed(3)],
  ["tracks", (s) => String(s.tracks)],
  ["false", (s) => String(s.falseTracks)],
  ["switches", (s) => String(s.idSwitches)],
  ["per target", (s) => s.tracksPerTarget.toFixed(2)],
  ["confirm s", (s) => s.confirmS.toFixed(1)],
  ["altered", (s) => String(s.altered)],
  ["frames/s", (s) => s.framesPerS.toFixed(0)],
  ["sustained", (s) => s.sustainedPerS?.toFixed(0) ?? ""],
];

function row(name: string, score: Timed): readonly string[] {
  return [name, ...COLUMNS.map(([, cell]) => cell(score))];
}

/** Combines scores into one, with the overall frames per second. */
function total(scores: readonly Timed[]): Timed {
  const sum = addScores(scores);
  const seconds = scores.reduce((before, one) => before + one.frames / one.framesPerS, 0);
  const sustainedS = scores.reduce((s, one) => s + one.frames / (one.sustainedPerS ?? NaN), 0);
  const sustained = Number.isNaN(sustainedS) ? {} : { sustainedPerS: sum.frames / sustainedS };
  return { ...sum, framesPerS: sum.frames / seconds, ...sustained };
}

await ensureInstalled();
const { values } = parseArgs({
  options: {
    data: { type: "string", default: join(root, "..", "shared", "data") },
    short: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    seed: { type: "string", default: "1" },
    command: { type: "string" },
  },
});
const command = values.command?.split(" ") ?? [
  process.execPath,
  join(root, "apps/tracker/src/main.ts"),
];
const header = ["", ...COLUMNS.map(([name]) => name)];

const generated: (readonly string[])[] = [];
for (const { kind, specs } of generatedSets(values.short ? 1 : SKIES, Number(values.seed))) {
  if (!kind.includes(values.only)) continue;
  const scores: Timed[] = [];
  for (const spec of specs) {
    const { frames, targets } = makeSky(spec);
    const lines = frames.map((frame) => `${JSON.stringify(frame)}\n`).join("");
    const { events, seconds } = await track(command, Buffer.from(lines));
    scores.push({ ...scoreEvents(frames, targets, events), framesPerS: frames.length / seconds });
  }
  generated.push(row(kind, total(scores)));
}
if (generated.length > 0) console.log(`generated\n${table([header, ...generated])}\n`);

const recorded: (readonly string[])[] = [];
const ours: Timed[] = [];
const theirs: Timed[] = [];
for (const { node, input, frames, targets, baseline } of recordedSets(resolve(values.data))) {
  if (!node.includes(values.only)) continue;
  let best = await track(command, input);
  for (let run = 1; run < (values.short ? 1 : RUNS); run++) {
    const next = await track(command, input);
    if (next.seconds < best.seconds) best = next;
  }
  const score = scoreEvents(frames, targets, best.events);
  const sustainedS = await trackRepeatedly(command, input, SUSTAINED_TIMES);
  ours.push({
    ...score,
    framesPerS: frames.length / best.seconds,
    sustainedPerS: (SUSTAINED_TIMES * frames.length) / sustainedS,
  });
  recorded.push(row(node, ours.at(-1)!));
  if (baseline === undefined) continue;
  theirs.push(baseline);
  recorded.push(row("  public tracker", baseline));
}
if (ours.length > 0) recorded.push(row("all", total(ours)));
if (theirs.length > 0) recorded.push(row("  public tracker", total(theirs)));
if (recorded.length > 0) console.log(`recorded\n${table([header, ...recorded])}`);
