/**
 * The radar's wavelength, λ = c/fc, which ties Doppler to the delay rate: d' = −λ·f. Frames do not carry fc, so unless
 * the config gives it, λ is learned from the stream: over a few seconds of a confirmed track, the change of delay is
 * −λ times the integral of its Doppler. Each such span is one scalar measurement of λ, taken in by a one-state Kalman
 * filter. A configured λ is where learning starts; it is used exactly as soon as the stream agrees with it, and dropped when
 * it does not, since a wrong one would tear every track apart. The rest of the tracker uses λ together with its standard deviation, so it works, a little more cautiously,
 * before λ is known. Owned by `tracker.ts`.
 */

const LIGHT_KM_S = 299_792.458;

/** Before anything is learned: 50 MHz to 2 GHz lie within one standard deviation or so. */
const PRIOR_KM = 1.5e-3;
const PRIOR_SD_RATIO = 1;
/** λ is taken as settled below this relative standard deviation. */
const SETTLED_RATIO = 0.05;
/**
 * λ is told of once it is known to this. A configured one is confirmed once what was learned is known to this and agrees, contradicted when it lies further than
 * this, and four standard deviations, from it.
 */
const CONFIRMED_RATIO = 0.01;
/** Learning never claims to know λ better than this, so that it can still follow. */
const SD_RATIO_MIN = 0.003;
/** Numbers derived from λ by division use at least this (3 GHz). */
const WAVELENGTH_KM_MIN = 1e-4;
/** A span that disagrees by more than this many standard deviations is not believed… */
const OUTLIER_SD = 4;
/** …but this many of them in a row mean the radar was retuned: learning starts again. */
const OUTLIERS_IN_A_ROW_MAX = 12;

function megahertz(wavelengthKm: number): string {
  return (LIGHT_KM_S / wavelengthKm / 1e6).toFixed(1);
}

/** λ as known so far. */
export interface WavelengthEstimate {
  /** km. */
  readonly km: number;
  /** km; 0 when λ is configured. */
  readonly sdKm: number;
}

export class Wavelength {
  readonly #configuredKm: number | undefined;
  // What is learned, also beside a configured λ.
  #km: number;
  #varianceKm2: number;
  #outliersInARow = 0;
  /** What the stream says of λ, the configured one if there is one. */
  #verdict: "open" | "confirmed" | "contradicted" = "open";
  #news: string | undefined;

  /** `centerFrequencyHz` fixes λ, unless the stream contradicts it; without it λ is learned. */
  constructor(centerFrequencyHz: number | undefined) {
    this.#configuredKm =
      centerFrequencyHz === undefined ? undefined : LIGHT_KM_S / centerFrequencyHz;
    this.#km = this.#configuredKm ?? PRIOR_KM;
    this.#varianceKm2 = (this.#km * PRIOR_SD_RATIO) ** 2;
  }

  get estimate(): WavelengthEstimate {
    const configuredKm = this.#trustedKm;
    if (configuredKm !== undefined) return { km: configuredKm, sdKm: 0 };
    return { km: this.#km, sdKm: Math.sqrt(this.#varianceKm2) };
  }

  /** The configured λ, once the stream agrees with it. */
  get #trustedKm(): number | undefined {
    return this.#verdict === "confirmed" ? this.#configuredKm : undefined;
  }

  /** |λ| for use as a divisor, km. */
  get divisorKm(): number {
    return Math.max(Math.abs(this.estimate.km), WAVELENGTH_KM_MIN);
  }

  /** Whether λ is known well enough to turn Doppler into speed. */
  get settled(): boolean {
    return this.#trustedKm !== undefined || this.#hasLearned;
  }

  get #hasLearned(): boolean {
    return this.#varianceKm2 <= (SETTLED_RATIO * this.#km) ** 2;
  }

  /** What is to be told of λ, once: that it was learned, or that the configured one is not the stream's. */
  takeNews(): string | undefined {
    const news = this.#news;
    this.#news = undefined;
    return news;
  }

  /**
   * Learns from one span of a track: the delay changed by `delayChangeKm` (variance `variance`, km²) while the
   * Doppler's integral over time was `dopplerIntegral` (Hz·s, that is, cycles).
   */
  learn(delayChangeKm: number, dopplerIntegral: number, variance: number): void {
    const residual = delayChangeKm + this.#km * dopplerIntegral;
    const spread = this.#varianceKm2 * dopplerIntegral * dopplerIntegral + variance;
    if (residual * residual > OUTLIER_SD * OUTLIER_SD * spread) {
      this.#outliersInARow++;
      if (this.#outliersInARow > OUTLIERS_IN_A_ROW_MAX) this.reset();
      return;
    }
    this.#outliersInARow = 0;
    const gain = (-this.#varianceKm2 * dopplerIntegral) / spread;
    this.#km += gain * residual;
    this.#varianceKm2 = Math.max(
      (this.#varianceKm2 * variance) / spread,
      (SD_RATIO_MIN * this.#km) ** 2,
    );
    if (this.#hasLearned) this.#compare();
  }

  /** Holds what was learned against what was configured. */
  #compare(): void {
    if (this.#verdict === "contradicted") return;
    const configuredKm = this.#configuredKm;
    const learned = megahertz(this.#km);
    const sdKm = Math.sqrt(this.#varianceKm2);
    if (configuredKm === undefined) {
      if (this.#verdict === "confirmed" || sdKm > CONFIRMED_RATIO * this.#km) return;
      this.#verdict = "confirmed";
      this.#news = `center frequency learned from the stream: ${learned} MHz`;
      return;
    }
    const doubtKm = OUTLIER_SD * sdKm + CONFIRMED_RATIO * configuredKm;
    if (Math.abs(this.#km - configuredKm) <= doubtKm) {
      if (sdKm <= CONFIRMED_RATIO * this.#km) this.#verdict = "confirmed";
      return;
    }
    this.#verdict = "contradicted";
    this.#news =
      `radar.center_frequency is ${megahertz(configuredKm)} MHz, but targets move as at ` +
      `${learned} MHz: using that`;
  }

  /** Forgets what was learned. */
  reset(): void {
    this.#outliersInARow = 0;
    this.#verdict = "open";
    this.#km = this.#configuredKm ?? PRIOR_KM;
    this.#varianceKm2 = (this.#km * PRIOR_SD_RATIO) ** 2;
  }
}

/** A span teaches once it is this long… */
const SPAN_MS_MIN = 4000;
/** …and is given up when two of its detections lie further apart than this. */
const SPAN_GAP_MS_MAX = 2000;

/** The path of one track since its last lesson: what `Wavelength.learn` learns from. */
export class WavelengthSpan {
  #startMs = Number.NaN;
  #startDelayKm = 0;
  #startVariance = 0;
  #lastMs = 0;
  #lastDopplerHz = 0;
  #dopplerIntegral = 0;

  /** Adds a detection of the track (delay variance in km²); teaches `wavelength` when the span is complete. */
  observe(
    timestampMs: number,
    delayKm: number,
    dopplerHz: number,
    delayVariance: number,
    wavelength: Wavelength,
  ): void {
    const gapMs = timestampMs - this.#lastMs;
    if (gapMs > 0 && gapMs <= SPAN_GAP_MS_MAX && !Number.isNaN(this.#startMs)) {
      // Trapezoidal rule.
      this.#dopplerIntegral += ((this.#lastDopplerHz + dopplerHz) / 2) * (gapMs / 1000);
      this.#lastMs = timestampMs;
      this.#lastDopplerHz = dopplerHz;
      if (timestampMs - this.#startMs < SPAN_MS_MIN) return;
      const change = delayKm - this.#startDelayKm;
      wavelength.learn(change, this.#dopplerIntegral, this.#startVariance + delayVariance);
    }
    this.#startMs = timestampMs;
    this.#startDelayKm = delayKm;
    this.#startVariance = delayVariance;
    this.#lastMs = timestampMs;
    this.#lastDopplerHz = dopplerHz;
    this.#dopplerIntegral = 0;
  }
}
