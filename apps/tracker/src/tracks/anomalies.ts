/**
 * Records the maximum speed of a track and the types of anomaly it has shown. A type, once recorded, is kept. A single outlier
 * is never enough: the evidence must be repeated. Owned by `track.ts`.
 */
import type { Adsb } from "../input/frame.ts";

export type AnomalyType = "identity_swap" | "supersonic";

/** The speed of sound at sea level in the ICAO standard atmosphere, m/s (rounded up, so that Mach 1 itself is not an anomaly). */
const SOUND_MS = 343;
const KNOT_MS = 0.514_444;
const MS_PER_KMS = 1000;
const VELOCITY_DECIMALS = 1;
/** A type is recorded when observations for it exceed those against it by this number. */
const EVIDENCE_MIN = 3;

/** Number of observations for an anomaly minus those against it, from one source. */
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

  /** The highest observed speed, m/s. From the bistatic range rate, it is a lower bound of the true speed. */
  get maxVelocityMs(): number {
    return this.#maxVelocityMs;
  }

  /** The end of an event's JSON, from `is_anomalous` on. */
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
   * Observes the filtered bistatic range rate, km/s. A target at speed v changes its bistatic range by at most 2v
   * (N. J. Willis, Bistatic Radar, 1991, §6.1), so its speed is at least half of the rate.
   */
  observeRangeRate(rangeRateKmS: number): void {
    this.#observeSpeed((Math.abs(rangeRateKmS) / 2) * MS_PER_KMS, this.#radarSpeed);
  }

  /** Observes the ground speed an aircraft reports (`gs`, knots), and whether its identity differs from the track's. */
  observeAdsb(adsb: Adsb, isOtherIdentity: boolean): void {
    const groundSpeed = adsb["gs"];
    if (
      typeof groundSpeed === "number" &&
      groundSpeed >= 0 &&
      groundSpeed < Number.POSITIVE_INFINITY
    ) {
      this.#observeSpeed(groundSpeed * KNOT_MS, this.#reportedSpeed);
    }
    this.#weigh("identity_swap", isOtherIdentity, this.#otherIdentity);
  }

  #observeSpeed(velocityMs: number, evidence: Evidence): void {
    if (velocityMs > this.#maxVelocityMs) {
      this.#maxVelocityMs = velocityMs;
      this.#json = undefined;
    }
    this.#weigh("supersonic", velocityMs > SOUND_MS, evidence);
  }

  #weigh(type: AnomalyType, isShown: boolean, evidence: Evidence): void {
    evidence.balance = Math.max(0, evidence.balance + (isShown ? 1 : -1));
    if (evidence.balance < EVIDENCE_MIN || this.#types.includes(type)) return;
    this.#types = [...this.#types, type].toSorted();
    this.#json = undefined;
  }
}
