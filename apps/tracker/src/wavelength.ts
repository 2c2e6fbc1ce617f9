/**
 * The radar's wavelength, λ = c/fc, which ties Doppler to the delay rate: d' = −λ·f. Frames do not carry fc, so unless
 * the config gives it, λ is learned from the stream: over a few seconds of a confirmed track, the change of delay is
 * −λ times the integral of its Doppler. Each such span is one scalar measurement of λ, taken in by a one-state Kalman
 * filter. The rest of the tracker uses λ together with its standard deviation, so it works, a little more cautiously,
 * before λ is known. Owned by `tracker.ts`.
 */

const LIGHT_KM_S = 299_792.458;

/** Before anything is learned: 50 MHz to 2 GHz lie within one standard deviation or so. */
const PRIOR_KM = 1.5e-3;
const PRIOR_SD_KM = 1.5e-3;
/** λ is taken as settled below this relative standard deviation. */
const SETTLED_RATIO = 0.05;
/** A configured λ that is this much off what was learned is said to be wrong. */
const CONTRADICTION_RATIO = 0.1;
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
  readonly #fixedKm: number | undefined;
  // What is learned, also beside a fixed λ, to notice when that is wrong.
  #km = PRIOR_KM;
  #varianceKm2 = PRIOR_SD_KM ** 2;
  #outliersInARow = 0;
  #hasTold = false;

  /** `centerFrequencyHz` fixes λ; without it λ is learned. */
  constructor(centerFrequencyHz: number | undefined) {
    this.#fixedKm = centerFrequencyHz === undefined ? undefined : LIGHT_KM_S / centerFrequencyHz;
  }

  get estimate(): WavelengthEstimate {
    if (this.#fixedKm !== undefined) return { km: this.#fixedKm, sdKm: 0 };
    return { km: this.#km, sdKm: Math.sqrt(this.#varianceKm2) };
  }

  /** |λ| for use as a divisor, km. */
  get divisorKm(): number {
    return Math.max(Math.abs(this.estimate.km), WAVELENGTH_KM_MIN);
  }

  /** Whether λ is known well enough to turn Doppler into speed. */
  get settled(): boolean {
    return this.#fixedKm !== undefined || this.#hasLearned;
  }

  get #hasLearned(): boolean {
    return this.#varianceKm2 <= (SETTLED_RATIO * this.#km) ** 2;
  }

  /**
   * What is to be told of λ, once: that it was learned, or that the configured one is not the stream's.
   */
  takeNews(): string | undefined {
    if (this.#hasTold || !this.#hasLearned) return undefined;
    this.#hasTold = true;
    const learned = `${megahertz(this.#km)} MHz`;
    if (this.#fixedKm === undefined) return `center frequency learned from the stream: ${learned}`;
    if (Math.abs(this.#km - this.#fixedKm) <= CONTRADICTION_RATIO * this.#fixedKm) return undefined;
    return (
      `radar.center_frequency is ${megahertz(this.#fixedKm)} MHz, but targets move as at ${learned}: ` +
      "correct it, or set it to null to have it learned"
    );
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
  }

  /** Forgets what was learned. */
  reset(): void {
    this.#outliersInARow = 0;
    this.#hasTold = false;
    this.#km = PRIOR_KM;
    this.#varianceKm2 = PRIOR_SD_KM ** 2;
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
