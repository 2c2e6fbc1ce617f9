/**
 * Estimates the radar's wavelength λ = c/fc, which relates Doppler to the delay rate: d' = −λ·f. Frames do not contain fc, so
 * unless it is configured, λ is learned from the stream: over a few seconds of a confirmed track, the change of delay is −λ
 * times the integral of its Doppler. Each such span is a scalar measurement of λ for a one-state Kalman filter. A configured λ
 * is the initial value; it is used exactly once the stream confirms it, and dropped if the stream contradicts it, because a
 * wrong λ would break every track. The rest of the tracker uses λ together with its standard deviation, so it also works, more
 * cautiously, before λ is known. Owned by `tracker.ts`.
 */

const LIGHT_KM_S = 299_792.458;

/** Initial estimate: 50 MHz to 2 GHz are within about one standard deviation. */
const PRIOR_KM = 1.5e-3;
const PRIOR_SD_RATIO = 1;
/** λ is settled below this relative standard deviation. */
const SETTLED_RATIO = 0.05;
/**
 * λ is reported once its relative standard deviation is below this. A configured λ is confirmed once the learned one is known
 * to this precision and agrees; it is contradicted when the two differ by more than this plus four standard deviations.
 */
const CONFIRMED_RATIO = 0.01;
/** Lower bound of the relative standard deviation, so that the filter can still follow changes. */
const SD_RATIO_MIN = 0.003;
/** Lower bound of λ as a divisor (3 GHz). */
const WAVELENGTH_KM_MIN = 1e-4;
/** A span that differs by more than this many standard deviations is an outlier and ignored. */
const OUTLIER_SD = 4;
/** More outliers in a row than this mean that the radar was retuned: learning starts again. */
const OUTLIERS_IN_A_ROW_MAX = 12;

function megahertz(wavelengthKm: number): string {
  return (LIGHT_KM_S / wavelengthKm / 1e6).toFixed(1);
}

/** The current estimate of λ. */
export interface WavelengthEstimate {
  /** km. */
  readonly km: number;
  /** Standard deviation, km; 0 for a confirmed configured λ. */
  readonly sdKm: number;
}

export class Wavelength {
  readonly #configuredKm: number | undefined;
  // The learned λ, which is also tracked when λ is configured.
  #km: number;
  #varianceKm2: number;
  #outliersInARow = 0;
  /** Whether the stream has confirmed or contradicted λ. */
  #verdict: "open" | "confirmed" | "contradicted" = "open";
  #notice: string | undefined;

  /** `centerFrequencyHz` determines λ unless the stream contradicts it; if it is undefined, λ is learned. */
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

  /** Whether λ is known well enough to convert Doppler to speed. */
  get isSettled(): boolean {
    return this.#trustedKm !== undefined || this.#hasLearned;
  }

  get #hasLearned(): boolean {
    return this.#varianceKm2 <= (SETTLED_RATIO * this.#km) ** 2;
  }

  /** Returns a message about λ once: that it was learned, or that the stream contradicts the configured one. */
  takeNotice(): string | undefined {
    const notice = this.#notice;
    this.#notice = undefined;
    return notice;
  }

  /**
   * Learns from one span of a track in which the delay changed by `delayChangeKm` (variance `variance`, km²) and the integral
   * of the Doppler over time was `dopplerIntegral` (Hz·s, that is, cycles).
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

  /** Compares the learned λ with the configured one. */
  #compare(): void {
    if (this.#verdict === "contradicted") return;
    const configuredKm = this.#configuredKm;
    const learned = megahertz(this.#km);
    const sdKm = Math.sqrt(this.#varianceKm2);
    if (configuredKm === undefined) {
      if (this.#verdict === "confirmed" || sdKm > CONFIRMED_RATIO * this.#km) return;
      this.#verdict = "confirmed";
      this.#notice = `center frequency learned from the stream: ${learned} MHz`;
      return;
    }
    const doubtKm = OUTLIER_SD * sdKm + CONFIRMED_RATIO * configuredKm;
    if (Math.abs(this.#km - configuredKm) <= doubtKm) {
      if (sdKm <= CONFIRMED_RATIO * this.#km) this.#verdict = "confirmed";
      return;
    }
    this.#verdict = "contradicted";
    this.#notice =
      `radar.center_frequency is ${megahertz(configuredKm)} MHz, but the motion of targets ` +
      `implies ${learned} MHz, which is used instead`;
  }

  /** Returns to the initial estimate. */
  reset(): void {
    this.#outliersInARow = 0;
    this.#verdict = "open";
    this.#km = this.#configuredKm ?? PRIOR_KM;
    this.#varianceKm2 = (this.#km * PRIOR_SD_RATIO) ** 2;
  }
}

/** Minimum length of a span. */
const SPAN_MS_MIN = 4000;
/** A span with a longer gap between two detections is discarded. */
const SPAN_GAP_MS_MAX = 2000;

/** Accumulates the spans of one track for `Wavelength.learn`. */
export class WavelengthSpan {
  #startMs = Number.NaN;
  #startDelayKm = 0;
  #startVariance = 0;
  #lastMs = 0;
  #lastDopplerHz = 0;
  #dopplerIntegral = 0;

  /** Adds a detection of the track (delay variance in km²). When the span is complete, `wavelength` learns from it. */
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
