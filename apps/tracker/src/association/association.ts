/**
 * Which detection continues which track: global nearest neighbour over gated pairs (S. Blackman and R. Popoli, Design
 * and Analysis of Modern Tracking Systems, 1999, §6.4). Each pair scores the log-likelihood ratio of "this track made
 * this detection" over "the track was missed and the detection is clutter"; the assignment with the greatest sum wins.
 * Pairs form clusters that share no track and no detection; each is solved by itself. Called by `tracker.ts`.
 */
import { assign } from "./assignment.ts";
import type { Amplitude } from "../estimation/amplitude.ts";
import { type Frame, hexOf } from "../input/frame.ts";
import type { Innovation, MeasurementVariance } from "../estimation/kalman.ts";
import type { Bounds, ManoeuvreFilter } from "../estimation/manoeuvre.ts";
import type { MeasurementNoise } from "../estimation/measurement-noise.ts";

/** How much likelier an equal ADS-B address is when track and detection belong together: one label in a thousand is wrong. */
const IDENTITY_RATIO = 1000;
/** An equal address lets a detection lie twice as far off (a turn during a fade). */
const IDENTITY_GATE_FACTOR = 4;
/** A track competes for its best detections only; more than this many lie in a gate only in a flood. */
const CANDIDATES_MAX = 16;
/** A cluster with more cells than this (only a flood makes one) is solved greedily. */
const CLUSTER_CELLS_MAX = 1 << 16;

const MISSED = -1;

/** A frame's detections on their way to the tracks, as parallel columns of length `count`. */
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
  /** 1: the detection continues a track, or is too weak to. */
  readonly taken: Uint8Array;
  /** Expected false alarms per km·Hz where each detection is. */
  readonly clutterDensity: Float64Array;
  /** The greatest measurement variances of all detections. */
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

  /** Fills `out` with the measurement variances of a detection. */
  variance(index: number, out: MeasurementVariance): MeasurementVariance {
    out.delay = this.delayVariance[index] as number;
    out.doppler = this.dopplerVariance[index] as number;
    return out;
  }
}

/** What association needs of a track: its prediction for the frame's time, and its identity. */
export interface Associable {
  readonly filter: ManoeuvreFilter;
  readonly adsbHex: string | null;
  /** The probability that it has a target to be detected. */
  readonly presence: number;
  /** How strong its detections were, dB; undefined while that is not known. */
  readonly snrDb: number | undefined;
}

/** How the radar detects; `SensorModel` is one. */
export interface Detectability {
  /** Probability that a target is detected in a frame. */
  readonly detectionProbability: number;
  /** Expected false alarms in a frame per km·Hz around a place. */
  clutterDensity(delayKm: number, dopplerHz: number): number;
  readonly amplitude: Pick<Amplitude, "ratio">;
}

/** A pair inside the gate. */
interface Pair {
  readonly track: number;
  readonly detection: number;
  readonly score: number;
}

/** The outcome: for each track the index of its detection, or −1. */
export interface Association {
  readonly detectionOfTrack: Int32Array;
  /** Clusters too large to be solved optimally. */
  readonly greedyClusters: number;
}

/**
 * Associates the free detections of `set` with `tracks`, and takes those it uses.
 * `gate` is the greatest squared Mahalanobis distance (χ², 2 degrees of freedom).
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

/** Each track's best pairs within the gate, of those whose score speaks for them; ordered by track. */
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
    // Of a pair over the track being missed and the detection being clutter, but for the detection's part.
    const baseRatio = present / (1 - present);
    // The gate's bounding box, to rule out most pairs cheaply.
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

/** Assigns the pairs whose track and detection are in no other pair; gives the others. */
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

/** Adds `pair` to those from index `first` on, of which the CANDIDATES_MAX best stay, the best first. */
function keepBest(pairs: Pair[], first: number, pair: Pair): void {
  let index = pairs.length;
  while (index > first && (pairs[index - 1] as Pair).score < pair.score) index--;
  if (index - first >= CANDIDATES_MAX) return;
  pairs.splice(index, 0, pair);
  if (pairs.length - first > CANDIDATES_MAX) pairs.pop();
}

/** How much likelier the addresses of a track and a detection (null: unknown) make it that they belong together. */
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

/** Writes a cluster's assignment; false when it was too large for the optimal one. */
function solve(cluster: readonly Pair[], detectionOfTrack: Int32Array): boolean {
  const rows = [...new Set(cluster.map(({ track }) => track))];
  const columns = [...new Set(cluster.map(({ detection }) => detection))];
  // At least as many columns as rows, so that every row can also be left without a detection (cells of cost 0).
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
    // A cell of cost 0 is no pair.
    if (track === undefined || detection === undefined || costs[row * width + column] === 0) {
      continue;
    }
    detectionOfTrack[track] = detection;
  }
  return true;
}

/** The best pair first, then the best of what is left. */
function solveGreedily(cluster: readonly Pair[], detectionOfTrack: Int32Array): void {
  const used = new Set<number>();
  for (const { track, detection } of cluster.toSorted((a, b) => b.score - a.score)) {
    if (detectionOfTrack[track] !== MISSED || used.has(detection)) continue;
    detectionOfTrack[track] = detection;
    used.add(detection);
  }
}
