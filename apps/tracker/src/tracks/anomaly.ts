/**
 * What is remarkable about a track: how fast it was at most, and which kinds of anomaly it showed. A kind, once shown,
 * stays. A single odd detection never marks a track: evidence must repeat. Owned by `track.ts`.
 */
import type { Adsb } from "../input/frame.ts";

export type AnomalyType = "identity_swap" | "supersonic";

/** The speed of sound at sea level in the ICAO standard atmosphere, m/s (rounded up, so Mach 1 itself is no anomaly). */
const SOUND_MS = 343;
const KNOT_MS = 0.514_444;
const MS_PER_KMS = 1000;
const VELOCITY_DECIMALS = 1;
/** So many observations more for than against mark a track. */
const EVIDENCE_MIN = 3;

/** Observations for, less those against, of one source. */
interface Evidence {
  balance: number;
}

export class Anomalies {
  #types: readonly AnomalyType[] = [];
  readonly #radarSpeed: Evidence = { balance: 0 };
  readonly #reportedSpeed: Evidence = { balance: 0 };
  readonly #otherIdentity: Evidence = { balance: 0 };
  #maxVelocityMs = 0;
  #json: string | undefined;

  /** The highest speed seen, m/s. A lower bound of the true one where it comes from the bistatic range rate. */
  get maxVelocityMs(): number {
    return this.#maxVelocityMs;
  }

  /** `types` and `maxVelocityMs` as an event has them: the end of its JSON, from `is_anomalous` on. */
  get json(): string {
    this.#json ??=
      `"is_anomalous":${this.#types.length > 0},` +
      `"max_velocity_ms":${this.#maxVelocityMs.toFixed(VELOCITY_DECIMALS)},` +
      `"anomaly_types":${JSON.stringify(this.#types)}}`;
    return this.#json;
  }

  /** Sorted. */
  get types(): readonly AnomalyType[] {
    return this.#types;
  }

  /**
   * Takes note of the filtered bistatic range rate, km/s. Flying at v changes a bistatic range by at most 2v
   * (N. J. Willis, Bistatic Radar, 1991, §6.1), so half of it is a speed the target surely reached.
   */
  observeRangeRate(rangeRateKmS: number): void {
    this.#observeSpeed((Math.abs(rangeRateKmS) / 2) * MS_PER_KMS, this.#radarSpeed);
  }

  /** Takes note of the ground speed an aircraft reports (`gs`, knots), and whether its identity is another than the track's. */
  observeAdsb(adsb: Adsb, otherIdentity: boolean): void {
    const groundSpeed = adsb["gs"];
    if (
      typeof groundSpeed === "number" &&
      groundSpeed >= 0 &&
      groundSpeed < Number.POSITIVE_INFINITY
    ) {
      this.#observeSpeed(groundSpeed * KNOT_MS, this.#reportedSpeed);
    }
    this.#weigh("identity_swap", otherIdentity, this.#otherIdentity);
  }

  #observeSpeed(velocityMs: number, evidence: Evidence): void {
    if (velocityMs > this.#maxVelocityMs) {
      this.#maxVelocityMs = velocityMs;
      this.#json = undefined;
    }
    this.#weigh("supersonic", velocityMs > SOUND_MS, evidence);
  }

  #weigh(type: AnomalyType, shown: boolean, evidence: Evidence): void {
    evidence.balance = Math.max(0, evidence.balance + (shown ? 1 : -1));
    if (evidence.balance < EVIDENCE_MIN || this.#types.includes(type)) return;
    this.#types = [...this.#types, type].toSorted();
    this.#json = undefined;
  }
}
