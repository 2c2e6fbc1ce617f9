/**
 * Aircraft seen by one bistatic radar: paths of straight legs and turns at constant height and speed, and what a receiver at
 * the origin measures of them. Used by `sky.ts`.
 */
import type { Random } from "../../../packages/daemon/src/index.ts";

const LIGHT_KM_S = 299_792.458;
const G_KM_S2 = 9.81e-3;

/** East and north of the receiver, km; `course` in radians from east, anticlockwise. */
export interface Heading {
  readonly x: number;
  readonly y: number;
  readonly course: number;
}

/** From `startS` on, the aircraft turns at `turnRate` (rad/s; 0 is straight). */
interface Leg {
  readonly startS: number;
  readonly from: Heading;
  readonly turnRate: number;
}

/** One aircraft, present from `startS` to `endS`. */
export interface Flight {
  readonly startS: number;
  readonly endS: number;
  readonly speedKmS: number;
  readonly heightKm: number;
  readonly legs: readonly Leg[];
}

/** Position and carrier frequency of the illuminator. */
export interface Geometry {
  readonly txXKm: number;
  readonly txYKm: number;
  readonly fcHz: number;
}

/** What a radar would measure without noise: bistatic delay in km, Doppler in Hz. */
export interface Echo {
  readonly delayKm: number;
  readonly dopplerHz: number;
}

/** How the aircraft of a sky turn. */
export type Turns = "gentle" | "hard";

/** Ranges for the length of legs and the acceleration in turns. */
const STYLES = {
  gentle: { straightS: [15, 60], turnS: [10, 40], g: [0.2, 0.6] },
  hard: { straightS: [5, 20], turnS: [4, 12], g: [1.5, 3] },
} as const;

function between(random: Random, [least, most]: readonly [number, number]): number {
  return least + (most - least) * random.next();
}

/** Returns the heading `elapsedS` after a leg's start. */
function follow({ from, turnRate }: Leg, speedKmS: number, elapsedS: number): Heading {
  const course = from.course + turnRate * elapsedS;
  if (turnRate === 0) {
    return {
      x: from.x + speedKmS * elapsedS * Math.cos(course),
      y: from.y + speedKmS * elapsedS * Math.sin(course),
      course,
    };
  }
  const radius = speedKmS / turnRate;
  return {
    x: from.x + radius * (Math.sin(course) - Math.sin(from.course)),
    y: from.y - radius * (Math.cos(course) - Math.cos(from.course)),
    course,
  };
}

/** Returns a flight's heading at `timeS`, which is not before its start. */
export function headingAt(flight: Flight, timeS: number): Heading {
  const leg = flight.legs.findLast(({ startS }) => startS <= timeS) ?? flight.legs[0]!;
  return follow(leg, flight.speedKmS, timeS - leg.startS);
}

/** Returns a flight from a random place within 75 km on a random course. It is straight if `turns` is undefined. */
export function randomFlight(
  random: Random,
  startS: number,
  endS: number,
  turns: Turns | undefined,
): Flight {
  const angle = 2 * Math.PI * random.next();
  const radius = 75 * Math.sqrt(random.next());
  const speedKmS = between(random, [0.07, 0.27]);
  const heightKm = between(random, [0.6, 11]);
  let from: Heading = {
    x: radius * Math.cos(angle),
    y: radius * Math.sin(angle),
    course: 2 * Math.PI * random.next(),
  };
  const legs: Leg[] = [{ startS, from, turnRate: 0 }];
  if (turns === undefined) return { startS, endS, speedKmS, heightKm, legs };
  const style = STYLES[turns];
  for (let timeS = startS; timeS < endS;) {
    const last = legs.at(-1)!;
    const isStraight = last.turnRate === 0;
    const lengthS = between(random, isStraight ? style.straightS : style.turnS);
    from = follow(last, speedKmS, lengthS);
    timeS += lengthS;
    const side = random.next() < 0.5 ? -1 : 1;
    const turnRate = isStraight ? (side * between(random, style.g) * G_KM_S2) / speedKmS : 0;
    legs.push({ startS: timeS, from, turnRate });
  }
  return { startS, endS, speedKmS, heightKm, legs };
}

/**
 * Returns a straight flight whose echo meets `other`'s in delay and Doppler at `meetS`, or undefined if it finds no course. At
 * that time the flight is at the mirror image of `other` across the baseline, on another course and at another speed.
 */
export function crossingFlight(
  random: Random,
  other: Flight,
  meetS: number,
  geometry: Geometry,
): Flight | undefined {
  const at = headingAt(other, meetS);
  const baseline = Math.hypot(geometry.txXKm, geometry.txYKm);
  const along = [geometry.txXKm / baseline, geometry.txYKm / baseline] as const;
  const projection = at.x * along[0] + at.y * along[1];
  const meet = { x: 2 * projection * along[0] - at.x, y: 2 * projection * along[1] - at.y };
  const wanted = echoOf(at, other, geometry).dopplerHz;
  for (let attempt = 0; attempt < 100; attempt++) {
    const course = 2 * Math.PI * random.next();
    const perSpeed = echoOf({ ...meet, course }, { ...other, speedKmS: 1 }, geometry).dopplerHz;
    const speedKmS = wanted / perSpeed;
    if (!(speedKmS > 0.07 && speedKmS < 0.27)) continue;
    const backKm = speedKmS * (meetS - other.startS);
    const from = {
      x: meet.x - backKm * Math.cos(course),
      y: meet.y - backKm * Math.sin(course),
      course,
    };
    return { ...other, speedKmS, legs: [{ startS: other.startS, from, turnRate: 0 }] };
  }
  return undefined;
}

/** Returns the echo of a flight at `timeS`. */
export function echoAt(flight: Flight, timeS: number, geometry: Geometry): Echo {
  return echoOf(headingAt(flight, timeS), flight, geometry);
}

/** Doppler is −fc/c times the delay rate, which is the sum of the rates of both ranges. */
function echoOf(
  { x, y, course }: Heading,
  { speedKmS, heightKm }: Pick<Flight, "speedKmS" | "heightKm">,
  { txXKm, txYKm, fcHz }: Geometry,
): Echo {
  const toTx = Math.hypot(x - txXKm, y - txYKm, heightKm);
  const toRx = Math.hypot(x, y, heightKm);
  const vx = speedKmS * Math.cos(course);
  const vy = speedKmS * Math.sin(course);
  const rate = (vx * (x - txXKm) + vy * (y - txYKm)) / toTx + (vx * x + vy * y) / toRx;
  return {
    delayKm: toTx + toRx - Math.hypot(txXKm, txYKm),
    dopplerHz: (-fcHz / LIGHT_KM_S) * rate,
  };
}
