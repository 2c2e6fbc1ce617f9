/** Reads the recorded sets with ground truth. Used by the tracker bench and its tests. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Score, ScoredFrame, Target } from "./score.ts";

/** The frames of one radar. */
export interface RecordedSet {
  readonly node: string;
  /** The file's bytes, JSONL. */
  readonly input: Uint8Array;
  readonly frames: readonly ScoredFrame[];
  readonly targets: readonly Target[];
  /** The figures of the public tracker. */
  readonly baseline: (Score & { readonly framesPerS: number }) | undefined;
}

interface TruthFile {
  readonly nodes: Readonly<
    Record<
      string,
      {
        readonly targets: readonly {
          readonly target_id: string;
          readonly start_ms: number;
          readonly end_ms: number;
          readonly samples: Target["samples"];
        }[];
      }
    >
  >;
}

/** The figures of `baseline.json`. */
interface BaselineFile {
  readonly nodes: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Reads the sets in `dir`. Returns none if it does not exist. */
export function recordedSets(dir: string): readonly RecordedSet[] {
  if (!existsSync(join(dir, "truth.json"))) return [];
  const truth = JSON.parse(readFileSync(join(dir, "truth.json"), "utf8")) as TruthFile;
  const baselines = JSON.parse(readFileSync(join(dir, "baseline.json"), "utf8")) as BaselineFile;
  return readdirSync(dir)
    .map((file) => /^(radar\d+)\.jsonl$/.exec(file)?.[1])
    .filter((node) => node !== undefined)
    .toSorted()
    .map((node) => {
      const input = readFileSync(join(dir, `${node}.jsonl`));
      const baseline = baselines.nodes[node];
      return {
        node,
        input,
        frames: linesOf(input.toString()),
        targets: (truth.nodes[node]?.targets ?? []).map((target) => ({
          id: target.target_id,
          startMs: target.start_ms,
          endMs: target.end_ms,
          samples: target.samples,
        })),
        baseline: baseline === undefined ? undefined : toScore(baseline),
      };
    });
}

function linesOf(text: string): readonly ScoredFrame[] {
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as ScoredFrame);
}

/** Converts the figures that the data set's `score.py` prints. */
export function toScore(figures: Readonly<Record<string, number>>) {
  const figure = (name: string): number => figures[name] ?? Number.NaN;
  return {
    frames: figure("frames"),
    targets: figure("truth_targets"),
    covered: figure("covered_targets"),
    timeCoverage: figure("time_coverage"),
    tracks: figure("confirmed_tracks"),
    falseTracks: figure("false_tracks"),
    idSwitches: figure("id_switches"),
    tracksPerTarget: figure("tracks_per_covered_target"),
    confirmS: figure("confirm_latency_s_median"),
    altered: figure("detections_not_in_frames"),
    events: figure("events"),
    framesPerS: figure("frames_per_s"),
  };
}
