/**
 * A Kalman filter for one target in delay–Doppler space.
 * State: bistatic delay d (km), Doppler f (Hz), Doppler rate a (Hz/s), moving as
 *
 *     d' = −λ·f      f' = a      a' = white noise of spectral density q
 *
 * where λ = c/fc is the wavelength in km: a closing target (f > 0) shortens the delay. The coupling makes the delay rate
 * observable through Doppler alone, so one detection already yields a velocity. This is the discretised
 * white-noise-acceleration family of Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and Navigation
 * (2001), §6.2, with delay as one more integral. Two of these filters form a `ManoeuvreFilter`. Pure arithmetic without
 * allocation.
 */

/** The parameters of the motion between two frames. */
export interface MotionModel {
  /** λ, km (km/s of delay rate per Hz). */
  readonly wavelengthKm: number;
  /** Standard deviation of λ, km; 0 when λ is known. */
  readonly wavelengthSdKm: number;
  /** q, the spectral density of the change of the Doppler rate, Hz²/s⁵. */
  readonly dopplerRateDensity: number;
}

/** The measurement variances of a detection, km² and Hz². */
export interface MeasurementVariance {
  delay: number;
  doppler: number;
}

/** The difference between a detection and the prediction. */
export interface Innovation {
  /** Squared Mahalanobis distance (χ² with 2 degrees of freedom when the model is right). */
  distanceSquared: number;
  /** Probability density of such a detection, per km·Hz. */
  likelihood: number;
}

export class DelayDopplerFilter {
  delayKm: number;
  dopplerHz: number;
  dopplerRateHzS = 0;
  // Covariance, upper triangle: indices 0 delay, 1 Doppler, 2 Doppler rate.
  #p00: number;
  #p01 = 0;
  #p02 = 0;
  #p11: number;
  #p12 = 0;
  #p22: number;

  /** Starts from one detection. The Doppler rate is unknown, with a mean of 0 and the variance `dopplerRateVariance`, (Hz/s)². */
  constructor(
    delayKm: number,
    dopplerHz: number,
    variance: MeasurementVariance,
    dopplerRateVariance: number,
  ) {
    this.delayKm = delayKm;
    this.dopplerHz = dopplerHz;
    this.#p00 = variance.delay;
    this.#p11 = variance.doppler;
    this.#p22 = dopplerRateVariance;
  }

  get delayVariance(): number {
    return this.#p00;
  }

  get dopplerVariance(): number {
    return this.#p11;
  }

  get dopplerRateVariance(): number {
    return this.#p22;
  }

  copy(other: DelayDopplerFilter): void {
    this.delayKm = other.delayKm;
    this.dopplerHz = other.dopplerHz;
    this.dopplerRateHzS = other.dopplerRateHzS;
    this.#p00 = other.#p00;
    this.#p01 = other.#p01;
    this.#p02 = other.#p02;
    this.#p11 = other.#p11;
    this.#p12 = other.#p12;
    this.#p22 = other.#p22;
  }

  /**
   * Becomes the Gaussian with the mean and covariance of a mixture: `a` with weight `weight`, `b` with the rest. `a` or `b` may
   * be this filter.
   */
  setMixture(a: DelayDopplerFilter, b: DelayDopplerFilter, weight: number): void {
    const rest = 1 - weight;
    const e0 = a.delayKm - b.delayKm;
    const e1 = a.dopplerHz - b.dopplerHz;
    const e2 = a.dopplerRateHzS - b.dopplerRateHzS;
    const spread = weight * rest;
    this.delayKm = weight * a.delayKm + rest * b.delayKm;
    this.dopplerHz = weight * a.dopplerHz + rest * b.dopplerHz;
    this.dopplerRateHzS = weight * a.dopplerRateHzS + rest * b.dopplerRateHzS;
    this.#p00 = weight * a.#p00 + rest * b.#p00 + spread * e0 * e0;
    this.#p01 = weight * a.#p01 + rest * b.#p01 + spread * e0 * e1;
    this.#p02 = weight * a.#p02 + rest * b.#p02 + spread * e0 * e2;
    this.#p11 = weight * a.#p11 + rest * b.#p11 + spread * e1 * e1;
    this.#p12 = weight * a.#p12 + rest * b.#p12 + spread * e1 * e2;
    this.#p22 = weight * a.#p22 + rest * b.#p22 + spread * e2 * e2;
  }

  /** Predicts the estimate `dtS` seconds (≥ 0) ahead. */
  predict(dtS: number, model: MotionModel): void {
    if (dtS === 0) return;
    const { wavelengthKm: w, dopplerRateDensity: q } = model;
    const b = -w * dtS;
    const c = 0.5 * b * dtS;
    // An error of λ displaces the delay in proportion to the distance flown.
    const drift = this.dopplerHz * dtS * model.wavelengthSdKm;
    this.delayKm += b * this.dopplerHz + c * this.dopplerRateHzS;
    this.dopplerHz += dtS * this.dopplerRateHzS;

    // P ← F P Fᵀ with F = [[1, b, c], [0, 1, dt], [0, 0, 1]].
    const r00 = this.#p00 + b * this.#p01 + c * this.#p02;
    const r01 = this.#p01 + b * this.#p11 + c * this.#p12;
    const r02 = this.#p02 + b * this.#p12 + c * this.#p22;
    const r11 = this.#p11 + dtS * this.#p12;
    const r12 = this.#p12 + dtS * this.#p22;
    // Q is q times the integral of the noise's impulse response [−λt²/2, t, 1] times its transpose.
    const t2 = dtS * dtS;
    const t3 = t2 * dtS;
    this.#p00 = r00 + b * r01 + c * r02 + (q * w * w * t3 * t2) / 20 + drift * drift;
    this.#p01 = r01 + dtS * r02 - (q * w * t2 * t2) / 8;
    this.#p02 = r02 - (q * w * t3) / 6;
    this.#p11 = r11 + dtS * r12 + (q * t3) / 3;
    this.#p12 = r12 + (q * t2) / 2;
    this.#p22 += q * dtS;
  }

  /** Computes the innovation of a detection into `out`. */
  innovation(
    delayKm: number,
    dopplerHz: number,
    variance: MeasurementVariance,
    out: Innovation,
  ): void {
    const s00 = this.#p00 + variance.delay;
    const s11 = this.#p11 + variance.doppler;
    const s01 = this.#p01;
    const e0 = delayKm - this.delayKm;
    const e1 = dopplerHz - this.dopplerHz;
    const determinant = s00 * s11 - s01 * s01;
    const distanceSquared = (s11 * e0 * e0 - 2 * s01 * e0 * e1 + s00 * e1 * e1) / determinant;
    out.distanceSquared = distanceSquared;
    out.likelihood = Math.exp(-distanceSquared / 2) / (2 * Math.PI * Math.sqrt(determinant));
  }

  /** Computes the distance of another estimate for the same time into `out`, in all three coordinates. */
  separation(other: DelayDopplerFilter, out: Innovation): void {
    const e0 = other.delayKm - this.delayKm;
    const e1 = other.dopplerHz - this.dopplerHz;
    const e2 = other.dopplerRateHzS - this.dopplerRateHzS;
    // LDLᵀ decomposition of the sum of both covariances; y1 and y2 solve L y = e.
    const d0 = this.#p00 + other.#p00;
    const l1 = (this.#p01 + other.#p01) / d0;
    const l2 = (this.#p02 + other.#p02) / d0;
    const d1 = this.#p11 + other.#p11 - l1 * l1 * d0;
    const l21 = (this.#p12 + other.#p12 - l1 * l2 * d0) / d1;
    const d2 = this.#p22 + other.#p22 - l2 * l2 * d0 - l21 * l21 * d1;
    const y1 = e1 - l1 * e0;
    const y2 = e2 - l2 * e0 - l21 * y1;
    const distanceSquared = (e0 * e0) / d0 + (y1 * y1) / d1 + (y2 * y2) / d2;
    out.distanceSquared = distanceSquared;
    out.likelihood = Math.exp(-distanceSquared / 2) / Math.sqrt((2 * Math.PI) ** 3 * d0 * d1 * d2);
  }

  /**
   * Updates the estimate with a detection. The errors of delay and Doppler are independent, so the two are applied
   * sequentially, which needs no matrix inverse (Bar-Shalom et al. 2001, §7.2 sequential updates).
   */
  update(delayKm: number, dopplerHz: number, variance: MeasurementVariance): void {
    this.#updateDelay(delayKm - this.delayKm, variance.delay);
    this.#updateDoppler(dopplerHz - this.dopplerHz, variance.doppler);
  }

  #updateDelay(residual: number, variance: number): void {
    const s = this.#p00 + variance;
    const k0 = this.#p00 / s;
    const k1 = this.#p01 / s;
    const k2 = this.#p02 / s;
    this.delayKm += k0 * residual;
    this.dopplerHz += k1 * residual;
    this.dopplerRateHzS += k2 * residual;
    this.#p11 -= k1 * this.#p01;
    this.#p12 -= k1 * this.#p02;
    this.#p22 -= k2 * this.#p02;
    const rest = variance / s;
    this.#p00 *= rest;
    this.#p01 *= rest;
    this.#p02 *= rest;
  }

  #updateDoppler(residual: number, variance: number): void {
    const s = this.#p11 + variance;
    const k0 = this.#p01 / s;
    const k1 = this.#p11 / s;
    const k2 = this.#p12 / s;
    this.delayKm += k0 * residual;
    this.dopplerHz += k1 * residual;
    this.dopplerRateHzS += k2 * residual;
    this.#p00 -= k0 * this.#p01;
    this.#p02 -= k0 * this.#p12;
    this.#p22 -= k2 * this.#p12;
    const rest = variance / s;
    this.#p01 *= rest;
    this.#p11 *= rest;
    this.#p12 *= rest;
  }
}
