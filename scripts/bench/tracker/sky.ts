/**
 * Generates skies with ground truth from a seed: aircraft on physical paths, missed detections, false alarms, and noise that
 * grows as echoes get weaker. Every frame and truth sample obeys doppler = −(fc/c)·d(delay)/dt. Used by the tracker bench and
 * its tests.
 */
import { type Random, seededRandom } from "../../../packages/daemon/src/index.ts";
import {
  crossingFlight,
  type Echo,
  echoAt,
  type Flight,
  type Geometry,
  randomFlight,
  type Turns,
} from "./flight.ts";
import type { Target } from "./score.ts";

/** The properties of a sky. */
export interface SkySpec {
  readonly seed: number;
  readonly frames: number;
  /** Time between frames, or its mean if irregular. */
  readonly intervalMs: number;
  readonly isIrregular: boolean;
  /** At times there is no frame for 3 to 12 s. */
  readonly hasGaps: boolean;
  readonly fcHz: number;
  readonly aircraftAtOnce: number;
  readonly turns: Turns;
  /** Aircraft fly in pairs whose echoes meet in delay and Doppler. */
  readonly isCrossing: boolean;
  /** At times an aircraft is not detected for 3 to 8 s. */
  readonly hasFades: boolean;
  readonly detectionProbability: number;
  readonly falseAlarmsPerFrame: number;
  /** Additional false alarms within 15 Hz of zero Doppler and 40 km, like echoes from the ground. */
  readonly groundEchoesPerFrame: number;
  /** Measurement noise as a multiple of 0.13 km and 1.5 Hz at 10 dB. */
  readonly noiseScale: number;
}

/** A frame, as a line of the tracker's input. */
export interface SkyFrame {
  readonly timestamp: number;
  readonly delay: readonly number[];
  readonly doppler: readonly number[];
  readonly snr: readonly number[];
  readonly adsb: readonly (Readonly<Record<string, unknown>> | null)[];
}

/** Frames with their ground truth. */
export interface Sky {
  readonly frames: readonly SkyFrame[];
  readonly targets: readonly Target[];
}

const START_MS = 1_790_000_000_000;
/** The instrumented range. An aircraft further away is not a target. */
const DELAY_KM_MAX = 110;
/** The highest rate at which a bistatic range changes. */
const RANGE_RATE_KM_S_MAX = 0.55;
const DELAY_SD_KM = 0.13;
const DOPPLER_SD_HZ = 1.5;
const SNR_DB_MIN = 4;
const GROUND_DELAY_KM_MAX = 40;
const GROUND_DOPPLER_HZ_MAX = 15;
const LIGHT_KM_S = 299_792.458;
const STAY_S = [40, 240] as const;
const PAUSE_S_MAX = 20;
const FADE_EVERY_S = 40;
const TARGET_S_MIN = 10;
const LABELLED_SHARE = 0.4;

/** One aircraft, and how the radar sees it. */
interface Visitor {
  readonly flight: Flight;
  readonly hex: string | undefined;
  readonly snrDb: number;
  readonly fades: readonly (readonly [number, number])[];
  /** The echo in each frame in which the aircraft is in range, by the frame's index. */
  readonly truth: ReadonlyMap<number, Echo>;
}

/** Generates a sky, which depends only on its spec. */
export function makeSky(spec: SkySpec): Sky {
  const random = seededRandom(spec.seed);
  const angle = 2 * Math.PI * random.next();
  const baselineKm = 22 + 20 * random.next();
  const geometry: Geometry = {
    txXKm: baselineKm * Math.cos(angle),
    txYKm: baselineKm * Math.sin(angle),
    fcHz: spec.fcHz,
  };
  const timesS = frameTimes(spec, random);
  const visitors = flightsOf(spec, geometry, timesS.at(-1)!, random)
    .map((flight) => makeVisitor(flight, truthOf(flight, timesS, geometry), spec, random))
    .filter(({ truth }) => staysLongEnough(truth, timesS));
  const frames = timesS.map((timeS, index) => frameAt(index, timeS, visitors, spec, random));
  const targets = visitors.map(({ truth }, index): Target => {
    const samples = [...truth].map(
      ([frame, { delayKm, dopplerHz }]) => [toMs(timesS[frame]!), delayKm, dopplerHz] as const,
    );
    return { id: `t${index}`, startMs: samples[0]![0], endMs: samples.at(-1)![0], samples };
  });
  return { frames, targets };
}

function toMs(timeS: number): number {
  return START_MS + Math.round(timeS * 1000);
}

/** Returns the echoes from the time the aircraft comes into range until it leaves. */
function truthOf(
  flight: Flight,
  timesS: readonly number[],
  geometry: Geometry,
): ReadonlyMap<number, Echo> {
  const truth = new Map<number, Echo>();
  for (const [index, timeS] of timesS.entries()) {
    if (timeS < flight.startS || timeS > flight.endS) continue;
    const echo = echoAt(flight, timeS, geometry);
    if (echo.delayKm <= DELAY_KM_MAX) truth.set(index, echo);
    else if (truth.size > 0) break;
  }
  return truth;
}

function staysLongEnough(truth: ReadonlyMap<number, Echo>, timesS: readonly number[]): boolean {
  const indices = [...truth.keys()];
  const [first, last] = [indices[0], indices.at(-1)];
  return first !== undefined && timesS[last!]! - timesS[first]! >= TARGET_S_MIN;
}

function frameTimes(spec: SkySpec, random: Random): number[] {
  const times: number[] = [];
  let timeS = 0;
  for (let index = 0; index < spec.frames; index++) {
    times.push(timeS);
    const share = spec.isIrregular ? 0.3 + 1.4 * random.next() : 1;
    timeS += Math.round(spec.intervalMs * share) / 1000;
    if (spec.hasGaps && random.next() < 0.012) timeS += 3 + 9 * random.next();
  }
  return times;
}

/** Returns the flights: one aircraft after another in each of `aircraftAtOnce` places. */
function flightsOf(
  spec: SkySpec,
  geometry: Geometry,
  endS: number,
  random: Random,
): readonly Flight[] {
  const flights: Flight[] = [];
  const step = spec.isCrossing ? 2 : 1;
  for (let place = 0; place < spec.aircraftAtOnce; place += step) {
    let startS = -100 * random.next();
    while (startS < endS) {
      const leaveS = startS + STAY_S[0] + (STAY_S[1] - STAY_S[0]) * random.next();
      const isTurning = spec.turns === "hard" || random.next() < 0.4;
      const flight = randomFlight(random, startS, leaveS, isTurning ? spec.turns : undefined);
      flights.push(flight);
      const meetS = startS + (leaveS - startS) * (0.3 + 0.4 * random.next());
      const other = spec.isCrossing ? crossingFlight(random, flight, meetS, geometry) : undefined;
      if (other !== undefined) flights.push(other);
      startS = leaveS + PAUSE_S_MAX * random.next();
    }
  }
  return flights;
}

function makeVisitor(
  flight: Flight,
  truth: ReadonlyMap<number, Echo>,
  spec: SkySpec,
  random: Random,
): Visitor {
  const fades: (readonly [number, number])[] = [];
  if (spec.hasFades) {
    let timeS = flight.startS;
    for (;;) {
      timeS += 15 + 2 * (FADE_EVERY_S - 15) * random.next();
      const untilS = timeS + 3 + 5 * random.next();
      if (untilS > flight.endS) break;
      fades.push([timeS, untilS]);
      timeS = untilS;
    }
  }
  const hex = Math.floor(random.next() * 0x1_00_00_00)
    .toString(16)
    .padStart(6, "0");
  const isLabelled = random.next() < LABELLED_SHARE;
  const snrDb = 5 + 18 * random.next();
  return { flight, hex: isLabelled ? hex : undefined, snrDb, fades, truth };
}

/** The detections of one frame. */
function frameAt(
  index: number,
  timeS: number,
  visitors: readonly Visitor[],
  spec: SkySpec,
  random: Random,
): SkyFrame {
  const detections: Detection[] = [];
  for (const visitor of visitors) {
    const echo = visitor.truth.get(index);
    if (echo === undefined) continue;
    const { delayKm, dopplerHz } = echo;
    const { fades } = visitor;
    const isFaded = fades.some(([fromS, untilS]) => timeS >= fromS && timeS <= untilS);
    if (random.next() >= spec.detectionProbability || isFaded) continue;
    const snr = Math.max(SNR_DB_MIN, visitor.snrDb + 3 * gaussian(random));
    const scale = spec.noiseScale * Math.min(1.6, Math.max(0.3, 10 ** ((10 - snr) / 20)));
    const delay = delayKm + DELAY_SD_KM * scale * gaussian(random);
    const doppler = dopplerHz + DOPPLER_SD_HZ * scale * gaussian(random);
    const isLabelled = visitor.hex !== undefined && random.next() < 0.9;
    detections.push({ delay, doppler, snr, adsb: isLabelled ? adsbOf(visitor) : null });
  }
  const dopplerMax = (RANGE_RATE_KM_S_MAX * spec.fcHz) / LIGHT_KM_S;
  for (let left = poisson(random, spec.falseAlarmsPerFrame); left > 0; left--) {
    const delay = DELAY_KM_MAX * random.next();
    const doppler = dopplerMax * (2 * random.next() - 1);
    detections.push({ delay, doppler, snr: SNR_DB_MIN + 3 * exponential(random), adsb: null });
  }
  if (spec.groundEchoesPerFrame > 0) {
    for (let left = poisson(random, spec.groundEchoesPerFrame); left > 0; left--) {
      const delay = GROUND_DELAY_KM_MAX * random.next();
      const doppler = GROUND_DOPPLER_HZ_MAX * (2 * random.next() - 1);
      detections.push({ delay, doppler, snr: SNR_DB_MIN + 3 * exponential(random), adsb: null });
    }
  }
  return toFrame(toMs(timeS), shuffled(detections, random));
}

interface Detection {
  readonly delay: number;
  readonly doppler: number;
  readonly snr: number;
  readonly adsb: Readonly<Record<string, unknown>> | null;
}

function adsbOf({ hex, flight }: Visitor): Readonly<Record<string, unknown>> {
  return { hex, gs: Math.round((flight.speedKmS / 0.000_514_444) * 10) / 10 };
}

/** Rounds numbers to hundredths, as radars print them. */
function toFrame(timestamp: number, detections: readonly Detection[]): SkyFrame {
  const rounded = (value: number): number => Math.round(value * 100) / 100;
  return {
    timestamp,
    delay: detections.map(({ delay }) => rounded(delay)),
    doppler: detections.map(({ doppler }) => rounded(doppler)),
    snr: detections.map(({ snr }) => rounded(snr)),
    adsb: detections.map(({ adsb }) => adsb),
  };
}

function shuffled<T>(values: readonly T[], random: Random): T[] {
  return values
    .map((value) => ({ value, order: random.next() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ value }) => value);
}

/** Draws from the standard normal distribution. (Box and Muller 1958) */
function gaussian(random: Random): number {
  return Math.sqrt(2 * exponential(random)) * Math.cos(2 * Math.PI * random.next());
}

function exponential(random: Random): number {
  return -Math.log(1 - random.next());
}

/** Draws from a Poisson distribution with a small mean. (Knuth's product of uniform numbers) */
function poisson(random: Random, mean: number): number {
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random.next(); product > limit; product *= random.next()) count++;
  return count;
}
