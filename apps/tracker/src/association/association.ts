/**
 * Assigns detections to tracks: global nearest neighbour over gated pairs (S. Blackman and R. Popoli, Design and Analysis of
 * Modern Tracking Systems, 1999, §6.4). The score of a pair is the log-likelihood ratio of "this track caused this detection"
 * over "the track was missed and the detection is clutter"; the assignment with the greatest sum is chosen. Pairs form clusters
 * that share no track and no detection, and each cluster is solved separately. Called by `tracker.ts`.
 */
import { assign } from "./assignment.ts";
import type { Amplitude } from "../estimation/amplitude.ts";
import { type Frame, hexOf } from "../input/frame.ts";
import type { Innovation, MeasurementVariance } from "../estimation/kalman.ts";
import type { Bounds, ManoeuvreFilter } from "../estimation/manoeuvre.ts";
import type { MeasurementNoise } from "../estimation/measurement-noise.ts";

/** Likelihood ratio of equal ADS-B addresses of a track and a detection: one label in a thousand is wrong. */
const IDENTITY_RATIO = 1000;
/** With an equal address, a detection may be twice as far away (a turn during a fade). */
const IDENTITY_GATE_FACTOR = 4;
/** A track competes only for its best detections. More than this many are in a gate only in a flood. */
const CANDIDATES_MAX = 16;
/** A cluster with more cells than this (only in a flood) is solved greedily. */
const CLUSTER_CELLS_MAX = 1 << 16;

const MISSED = -1;

/** The detections of a frame during association, as parallel arrays of length `count`. */
export class DetectionSet {
  readonly frame: Frame;
  readonly count: number;
  readonly delayKm: Float64Array;
  readonly dopplerHz: Float64Array;
  /** Measurement variances, km² and Hz². */
  readonly delayVariance: Float64Array;
  readonly dopplerVariance: Float64Array;
  /** The ADS-B address matched to each detection, if any. */
  readonly hex: (string | null)[] = [];
  /** 1 for a detection that is assigned to a track, or too weak to be. */
  readonly taken: Uint8Array;
  /** Expected false alarms per km·Hz at each detection. */
  readonly clutterDensity: Float64Array;
  /** The largest measurement variances of all detections. */
  readonly varianceMax: MeasurementVariance = { delay: 0, doppler: 0 };

  constructor(frame: Frame, noise: MeasurementNoise, sensor: Detectability, snrMinDb: number) {
    const count = frame.delaysKm.length;
    this.frame = frame;
    this.count = count;
    this.delayKm = new Float64Array(frame.delaysKm);
    this.dopplerHz = new Float64Array(frame.dopplersHz);
    this.delayVariance = new Float64Array(count);
    this.dopplerVariance = new Float64Array(count);
    this.taken = new Uint8Array(count);
    this.clutterDensity = new Float64Array(count);
    for (let index = 0; index < count; index++) {
      const snrDb = frame.snrsDb[index] as number;
      const { delay, doppler } = noise.variance(snrDb);
      this.delayVariance[index] = delay;
      this.dopplerVariance[index] = doppler;
      this.varianceMax.delay = Math.max(this.varianceMax.delay, delay);
      this.varianceMax.doppler = Math.max(this.varianceMax.doppler, doppler);
      this.clutterDensity[index] = sensor.clutterDensity(
        this.delayKm[index] as number,
        this.dopplerHz[index] as number,
      );
      if (snrDb < snrMinDb) this.taken[index] = 1;
      this.hex.push(hexOf(frame.adsb[index] ?? null));
    }
  }

  /** Writes the measurement variances of a detection to `out` and returns it. */
  variance(index: number, out: MeasurementVariance): MeasurementVariance {
    out.delay = this.delayVariance[index] as number;
    out.doppler = this.dopplerVariance[index] as number;
    return out;
  }
}

/** The properties of a track that association uses. */
export interface Associable {
  /** The prediction for the time of the frame. */
  readonly filter: ManoeuvreFilter;
  readonly adsbHex: string | null;
  /** The probability that there is a detectable target. */
  readonly presence: number;
  /** The strength of its detections, dB; undefined when not known yet. */
  readonly snrDb: number | undefined;
}

/** The radar's detection statistics, implemented by `SensorModel`. */
export interface Detectability {
  /** Probability that a target is detected in a frame. */
  readonly detectionProbability: number;
  /** Expected false alarms per frame and km·Hz at a position. */
  clutterDensity(delayKm: number, dopplerHz: number): number;
  readonly amplitude: Pick<Amplitude, "ratio">;
}

/** A track and a detection within its gate. */
interface Pair {
  readonly track: number;
  readonly detection: number;
  readonly score: number;
}

/** The result of an association. */
export interface Association {
  /** For each track the index of its detection, or −1. */
  readonly detectionOfTrack: Int32Array;
  /** Number of clusters too large to be solved optimally. */
  readonly greedyClusters: number;
}

/**
 * Associates the detections of `set` that are not taken with `tracks`, and marks the assigned ones as taken.
 * `gate` is the largest squared Mahalanobis distance (χ², 2 degrees of freedom).
 */
export function associate(
  tracks: readonly Associable[],
  set: DetectionSet,
  gate: number,
  sensor: Detectability,
): Association {
  const pairs = gatedPairs(tracks, set, gate, sensor);
  const detectionOfTrack = new Int32Array(tracks.length).fill(MISSED);
  let greedyClusters = 0;
  for (const cluster of clusters(takeUndisputed(pairs, detectionOfTrack, set.count), set.count)) {
    if (!solve(cluster, detectionOfTrack)) greedyClusters++;
  }
  for (const detection of detectionOfTrack) if (detection !== MISSED) set.taken[detection] = 1;
  return { detectionOfTrack, greedyClusters };
}

/** The best pairs of each track within the gate with a positive score, ordered by track. */
function gatedPairs(
  tracks: readonly Associable[],
  set: DetectionSet,
  gate: number,
  { detectionProbability, amplitude }: Detectability,
): Pair[] {
  const pairs: Pair[] = [];
  const { delayKm, dopplerHz, clutterDensity, taken, hex, varianceMax } = set;
  const variance: MeasurementVariance = { delay: 0, doppler: 0 };
  const innovation: Innovation = { distanceSquared: 0, likelihood: 0 };
  const bounds: Bounds = { delayMinKm: 0, delayMaxKm: 0, dopplerMinHz: 0, dopplerMaxHz: 0 };
  for (let track = 0; track < tracks.length; track++) {
    const { filter, adsbHex, presence, snrDb } = tracks[track] as Associable;
    const widest = adsbHex === null ? gate : gate * IDENTITY_GATE_FACTOR;
    const present = presence * detectionProbability;
    // The part of the likelihood ratio that does not depend on the detection.
    const baseRatio = present / (1 - present);
    // The bounding box of the gate excludes most pairs cheaply.
    filter.bounds(widest, varianceMax, bounds);
    const { delayMinKm, delayMaxKm, dopplerMinHz, dopplerMaxHz } = bounds;
    const first = pairs.length;
    for (let detection = 0; detection < set.count; detection++) {
      const delay = delayKm[detection] as number;
      const doppler = dopplerHz[detection] as number;
      if (doppler < dopplerMinHz || doppler > dopplerMaxHz) continue;
      if (delay < delayMinKm || delay > delayMaxKm || taken[detection] === 1) continue;
      filter.innovation(delay, doppler, set.variance(detection, variance), innovation);
      const identity = identityRatio(adsbHex, hex[detection] ?? null);
      if (!(innovation.distanceSquared <= (identity > 1 ? widest : gate))) continue;
      const density = clutterDensity[detection] as number;
      const strength = amplitude.ratio(set.frame.snrsDb[detection] as number, snrDb);
      const score = Math.log((baseRatio * innovation.likelihood * identity * strength) / density);
      if (score > 0) keepBest(pairs, first, { track, detection, score });
    }
  }
  return pairs;
}

/** Assigns the pairs whose track and detection are in no other pair, and returns the others. */
function takeUndisputed(
  pairs: readonly Pair[],
  detectionOfTrack: Int32Array,
  detectionCount: number,
): Pair[] {
  const pairsOfTrack = new Uint16Array(detectionOfTrack.length);
  const pairsOfDetection = new Uint16Array(detectionCount);
  for (const { track, detection } of pairs) {
    pairsOfTrack[track] = (pairsOfTrack[track] as number) + 1;
    pairsOfDetection[detection] = (pairsOfDetection[detection] as number) + 1;
  }
  const disputed: Pair[] = [];
  for (const pair of pairs) {
    if (pairsOfTrack[pair.track] === 1 && pairsOfDetection[pair.detection] === 1) {
      detectionOfTrack[pair.track] = pair.detection;
    } else {
      disputed.push(pair);
    }
  }
  return disputed;
}

/** Inserts `pair` among those from index `first` on, which are sorted by score and limited to CANDIDATES_MAX. */
function keepBest(pairs: Pair[], first: number, pair: Pair): void {
  let index = pairs.length;
  while (index > first && (pairs[index - 1] as Pair).score < pair.score) index--;
  if (index - first >= CANDIDATES_MAX) return;
  pairs.splice(index, 0, pair);
  if (pairs.length - first > CANDIDATES_MAX) pairs.pop();
}

/** The likelihood ratio of the addresses of a track and a detection (null: unknown) for belonging together. */
export function identityRatio(ofTrack: string | null, ofDetection: string | null): number {
  if (ofTrack === null || ofDetection === null) return 1;
  return ofTrack === ofDetection ? IDENTITY_RATIO : 1 / IDENTITY_RATIO;
}

/** Splits pairs into groups that share neither tracks nor detections (union–find over the tracks). */
function clusters(pairs: readonly Pair[], detectionCount: number): Iterable<Pair[]> {
  if (pairs.length === 0) return [];
  const parent = new Map<number, number>(pairs.map(({ track }) => [track, track]));
  const find = (track: number): number => {
    let root = track;
    for (let up = parent.get(root); up !== undefined && up !== root; up = parent.get(root)) {
      parent.set(root, parent.get(up) ?? up);
      root = up;
    }
    return root;
  };
  const firstTrack = new Int32Array(detectionCount).fill(MISSED);
  for (const { track, detection } of pairs) {
    const other = firstTrack[detection] as number;
    if (other === MISSED) firstTrack[detection] = track;
    else parent.set(find(track), find(other));
  }
  return Map.groupBy(pairs, ({ track }) => find(track)).values();
}

/** Solves a cluster into `detectionOfTrack`; returns false if it was too large for the optimal assignment. */
function solve(cluster: readonly Pair[], detectionOfTrack: Int32Array): boolean {
  const rows = [...new Set(cluster.map(({ track }) => track))];
  const columns = [...new Set(cluster.map(({ detection }) => detection))];
  // At least as many columns as rows, so that every row can stay without a detection (cells of cost 0).
  const width = Math.max(rows.length, columns.length);
  if (rows.length * width > CLUSTER_CELLS_MAX) {
    solveGreedily(cluster, detectionOfTrack);
    return false;
  }
  const rowOf = new Map(rows.map((track, row) => [track, row]));
  const columnOf = new Map(columns.map((detection, column) => [detection, column]));
  const costs = new Float64Array(rows.length * width);
  for (const { track, detection, score } of cluster) {
    costs[(rowOf.get(track) ?? 0) * width + (columnOf.get(detection) ?? 0)] = -score;
  }
  for (const [row, column] of assign(costs, rows.length, width).entries()) {
    const track = rows[row];
    const detection = columns[column];
    // A cell of cost 0 is not a pair.
    if (track === undefined || detection === undefined || costs[row * width + column] === 0) {
      continue;
    }
    detectionOfTrack[track] = detection;
  }
  return true;
}

/** Assigns the best pair first, then the best remaining one, and so on. */
function solveGreedily(cluster: readonly Pair[], detectionOfTrack: Int32Array): void {
  const used = new Set<number>();
  for (const { track, detection } of cluster.toSorted((a, b) => b.score - a.score)) {
    if (detectionOfTrack[track] !== MISSED || used.has(detection)) continue;
    detectionOfTrack[track] = detection;
    used.add(detection);
  }
}
