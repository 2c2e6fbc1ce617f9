/**
 * Scores a tracker's events against ground truth. Computes the same figures as the data set's `score.py`, so that generated and
 * recorded skies are judged alike (a test compares the two). A detection agrees with a target if it is within 2 km and 10 Hz of
 * the interpolated truth. Used by the tracker bench and its tests.
 */
import { median, quantile } from "../shared/figures.ts";

const DELAY_KM_MAX = 2;
const DOPPLER_HZ_MAX = 10;
/** A track belongs to a target if it has this many agreeing detections. */
const HITS_MIN = 3;
/** A track with a smaller share of agreeing detections is false. */
const PURITY_MIN = 0.5;
const BIN_MS = 2500;
/** How far the truth is extended beyond its ends. */
const EDGE_MS = 250;

/** The truth of one aircraft. `samples` are [Unix ms, delay km, Doppler Hz], in order. */
export interface Target {
  readonly id: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly samples: readonly (readonly [number, number, number])[];
}

/** The detections of a frame. Both arrays have the same length. */
export interface ScoredFrame {
  readonly timestamp: number;
  readonly delay: readonly number[];
  readonly doppler: readonly number[];
}

/** The figures of a set of frames. */
export interface Score {
  readonly frames: number;
  readonly targets: number;
  readonly covered: number;
  /** Share of the 2.5 s bins of all targets in which a track holds the target. */
  readonly timeCoverage: number;
  readonly tracks: number;
  readonly falseTracks: number;
  readonly idSwitches: number;
  readonly tracksPerTarget: number;
  /** Median of the seconds from a target's appearance to the first event of one of its tracks. */
  readonly confirmS: number;
  /** Detections in events that are in no frame. */
  readonly altered: number;
  readonly events: number;
}

/** Combines scores: adds counts, weights shares by what they are shares of, and takes the median of medians. */
export function addScores(scores: readonly Score[]): Score {
  const add = (of: (score: Score) => number): number => sum(scores.map(of));
  const covered = add((s) => s.covered);
  const targets = add((s) => s.targets);
  return {
    frames: add((s) => s.frames),
    targets,
    covered,
    timeCoverage: add((s) => s.timeCoverage * s.targets) / targets,
    tracks: add((s) => s.tracks),
    falseTracks: add((s) => s.falseTracks),
    idSwitches: add((s) => s.idSwitches),
    tracksPerTarget: add((s) => s.tracksPerTarget * s.covered) / covered,
    confirmS: median(scores.map((s) => s.confirmS)),
    altered: add((s) => s.altered),
    events: add((s) => s.events),
  };
}

/** A detection of a track, and the target it agrees with. */
interface Hit {
  readonly timestamp: number;
  readonly delay: number;
  readonly doppler: number;
  readonly target: Target | undefined;
}

interface ScoredTrack {
  readonly hits: ReadonlyMap<string, Hit>;
  readonly firstEventMs: number;
}

/** Scores `events`, the tracker's output with one JSON object per line. */
export function scoreEvents(
  frames: readonly ScoredFrame[],
  targets: readonly Target[],
  events: string,
): Score {
  const { tracks, count } = readTracks(events, targets);
  const known = new Set(
    frames.flatMap(({ timestamp, delay, doppler }) =>
      delay.map((one, index) => keyOf(timestamp, one, doppler[index]!)),
    ),
  );
  const trueTracks = new Map([...tracks].filter(([, track]) => isTrue(track)));
  const matches = match(trueTracks, targets);
  const rows = targets.map((target) =>
    judge(target, matches.get(target) ?? new Map<number, string>(), tracks),
  );
  const covered = rows.filter(({ isCovered }) => isCovered);
  const bins = sum(rows.map((row) => row.bins));
  let altered = 0;
  for (const { hits } of tracks.values())
    for (const key of hits.keys()) if (!known.has(key)) altered++;
  return {
    frames: frames.length,
    targets: targets.length,
    covered: covered.length,
    timeCoverage: sum(rows.map((row) => row.coverage * row.bins)) / bins,
    tracks: tracks.size,
    falseTracks: tracks.size - trueTracks.size,
    idSwitches: sum(rows.map(({ switches }) => switches)),
    tracksPerTarget: sum(covered.map((row) => row.tracks)) / covered.length,
    confirmS: quantile(
      covered.map(({ confirmS }) => confirmS).toSorted((a, b) => a - b),
      0.5,
    ),
    altered,
    events: count,
  };
}

function keyOf(timestamp: number, delay: number, doppler: number): string {
  return `${timestamp} ${delay} ${doppler}`;
}

function sum(values: readonly number[]): number {
  return values.reduce((before, value) => before + value, 0);
}

/** Returns a target's [delay, Doppler]; undefined outside its time. */
function positionAt({ samples, startMs, endMs }: Target, ms: number): [number, number] | undefined {
  if (ms < startMs - EDGE_MS || ms > endMs + EDGE_MS) return undefined;
  let low = 0;
  let high = samples.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle]![0] <= ms) low = middle + 1;
    else high = middle;
  }
  const [beforeMs, beforeKm, beforeHz] = samples[Math.max(low - 1, 0)]!;
  const [afterMs, afterKm, afterHz] = samples[Math.min(low, samples.length - 1)]!;
  if (afterMs === beforeMs) return [afterKm, afterHz];
  const share = (ms - beforeMs) / (afterMs - beforeMs);
  return [beforeKm + share * (afterKm - beforeKm), beforeHz + share * (afterHz - beforeHz)];
}

/** Returns the squared distance in units of the tolerances; undefined if the detection does not agree. */
function distance(target: Target, ms: number, delay: number, doppler: number): number | undefined {
  const at = positionAt(target, ms);
  if (at === undefined) return undefined;
  const x = Math.abs(at[0] - delay) / DELAY_KM_MAX;
  const y = Math.abs(at[1] - doppler) / DOPPLER_HZ_MAX;
  return x <= 1 && y <= 1 ? x * x + y * y : undefined;
}

function nearest(
  targets: readonly Target[],
  ms: number,
  delay: number,
  doppler: number,
): Target | undefined {
  let best: Target | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const target of targets) {
    const one = distance(target, ms, delay, doppler) ?? least;
    if (one >= least) continue;
    best = target;
    least = one;
  }
  return best;
}

/** Collects the detections of each track over all its events. */
function readTracks(events: string, targets: readonly Target[]) {
  const tracks = new Map<string, { hits: Map<string, Hit>; firstEventMs: number }>();
  let count = 0;
  for (const line of events.split("\n")) {
    if (line === "") continue;
    const event = JSON.parse(line) as {
      readonly track_id: string;
      readonly timestamp: number;
      readonly detections: readonly { timestamp: number; delay: number; doppler: number }[];
    };
    count++;
    let track = tracks.get(event.track_id);
    if (track === undefined) {
      track = { hits: new Map(), firstEventMs: event.timestamp };
      tracks.set(event.track_id, track);
    }
    for (const { timestamp, delay, doppler } of event.detections) {
      const key = keyOf(timestamp, delay, doppler);
      if (track.hits.has(key)) continue;
      const target = nearest(targets, timestamp, delay, doppler);
      track.hits.set(key, { timestamp, delay, doppler, target });
    }
  }
  return { tracks, count };
}

function isTrue({ hits }: ScoredTrack): boolean {
  const counts = new Map<Target, number>();
  for (const { target } of hits.values()) {
    if (target !== undefined) counts.set(target, (counts.get(target) ?? 0) + 1);
  }
  const agreeing = sum([...counts.values()]);
  return Math.max(0, ...counts.values()) >= HITS_MIN && agreeing >= PURITY_MIN * hits.size;
}

/**
 * Returns which track holds each target at each time. A target keeps its track while that has an agreeing detection; the
 * others are paired one to one, the nearest first. (CLEAR MOT; K. Bernardin and R. Stiefelhagen, EURASIP J. Image Video
 * Process. 2008)
 */
function match(
  tracks: ReadonlyMap<string, ScoredTrack>,
  targets: readonly Target[],
): ReadonlyMap<Target, ReadonlyMap<number, string>> {
  const byTime = new Map<number, { readonly id: string; readonly hit: Hit }[]>();
  for (const [id, { hits }] of tracks) {
    for (const hit of hits.values()) {
      const list = byTime.get(hit.timestamp);
      if (list === undefined) byTime.set(hit.timestamp, [{ id, hit }]);
      else list.push({ id, hit });
    }
  }
  const holder = new Map<Target, string>();
  const matches = new Map<Target, Map<number, string>>(targets.map((t) => [t, new Map()]));
  for (const [ms, hits] of [...byTime].toSorted(([a], [b]) => a - b)) {
    const pairs = targets.flatMap((target) =>
      hits.flatMap(({ id, hit }) => {
        const far = distance(target, ms, hit.delay, hit.doppler);
        return far === undefined ? [] : [{ target, id, hit, far, kept: holder.get(target) === id }];
      }),
    );
    const held = new Set<Target>();
    const used = new Set<Hit>();
    pairs.sort((a, b) => Number(b.kept) - Number(a.kept) || a.far - b.far);
    for (const { target, id, hit } of pairs) {
      if (held.has(target) || used.has(hit)) continue;
      held.add(target);
      used.add(hit);
      holder.set(target, id);
      matches.get(target)!.set(ms, id);
    }
  }
  return matches;
}

/** Judges how one target was held. A switch is a change between tracks that each held it three times in a row. */
function judge(
  { startMs, endMs }: Target,
  held: ReadonlyMap<number, string>,
  tracks: ReadonlyMap<string, ScoredTrack>,
) {
  const bins = Math.floor((endMs - startMs) / BIN_MS) + 1;
  const seen = new Set([...held.keys()].map((ms) => Math.floor((ms - startMs) / BIN_MS)));
  const perTrack = new Map<string, number>();
  let run = { id: "", length: 0 };
  let last: string | undefined;
  let switches = 0;
  for (const id of held.values()) {
    perTrack.set(id, (perTrack.get(id) ?? 0) + 1);
    run = { id, length: run.id === id ? run.length + 1 : 1 };
    if (run.length !== HITS_MIN) continue;
    if (last !== undefined && last !== id) switches++;
    last = id;
  }
  const mine = [...perTrack].filter(([, hits]) => hits >= HITS_MIN).map(([id]) => id);
  const firstMs = Math.min(...mine.map((id) => tracks.get(id)!.firstEventMs));
  return {
    bins,
    coverage: Math.min(1, seen.size / bins),
    isCovered: mine.length > 0,
    switches,
    tracks: mine.length,
    confirmS: Math.max(0, (firstMs - startMs) / 1000),
  };
}
