/**
 * The multi-target tracker: frames in, events out, nothing else. (T10)
 * Each frame: predict every track, associate confirmed tracks first and tentative ones with what is left, update,
 * begin a tentative track at every detection still free. Owned by `session.ts`.
 */
import { associate, DetectionSet } from "./association.ts";
import type { TrackerConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import type { Detection } from "./detection-history.ts";
import type { Frame } from "./frame.ts";
import { DelayDopplerFilter, type MeasurementVariance, type MotionModel } from "./kalman.ts";
import { MeasurementNoise } from "./measurement-noise.ts";
import { afterHit, afterMiss, Track } from "./track.ts";
import { type EventWriter, trackId, writeTrackEvent } from "./track-event.ts";
import { Wavelength } from "./wavelength.ts";

/** Tracks of all states; a detection that would begin one more is refused. */
export const TRACKS_MAX = 1024;
/** A frame at most this much older than its predecessor is late and skipped; an older one means the clock was set back. */
const LATE_MS_MAX = 2000;
/** After a longer silence the tracks are given up. */
const SILENCE_MS_MAX = 30_000;
/** The frame interval assumed until one was seen. */
const INTERVAL_MS_DEFAULT = 500;

export class Tracker {
  readonly #config: TrackerConfig;
  readonly #counters: Counters;
  readonly #writer: EventWriter;
  readonly #wavelength: Wavelength;
  readonly #noise: MeasurementNoise;
  readonly #variance: MeasurementVariance = { delay: 0, doppler: 0 };
  #tracks: Track[] = [];
  #lastMs: number | undefined;
  #intervalMs = INTERVAL_MS_DEFAULT;
  #nextId = 0;

  /** `writer` gets one event line per confirmed track and frame in which it was detected. */
  constructor(config: TrackerConfig, counters: Counters, writer: EventWriter) {
    this.#config = config;
    this.#counters = counters;
    this.#writer = writer;
    this.#noise = new MeasurementNoise(config.measurementNoise);
    this.#wavelength = new Wavelength(config.centerFrequencyHz ?? undefined);
  }

  /** Forgets everything but which track ids were used. */
  reset(): void {
    this.#tracks = [];
    this.#lastMs = undefined;
    this.#intervalMs = INTERVAL_MS_DEFAULT;
    this.#wavelength.reset();
    this.#noise.reset();
  }

  process(frame: Frame): void {
    const elapsedMs = this.#advance(frame.timestampMs);
    if (elapsedMs === undefined) return;
    this.#counters.frames++;
    this.#counters.detections += frame.delaysKm.length;
    const model = this.#motionModel();
    for (const track of this.#tracks) track.filter.predict(elapsedMs / 1000, model);

    const set = new DetectionSet(frame, this.#noise, this.#config.snrMinDb);
    const [tentative, confirmed] = partition(this.#tracks);
    this.#associate(confirmed, set);
    this.#associate(tentative, set);
    this.#tracks = this.#tracks.filter(({ state }) => state.at !== "deleted");
    this.#begin(set);
  }

  /** The time since the last frame, ms; undefined when the frame is to be skipped. */
  #advance(timestampMs: number): number | undefined {
    const lastMs = this.#lastMs;
    if (lastMs === undefined) {
      this.#lastMs = timestampMs;
      return 0;
    }
    const elapsedMs = timestampMs - lastMs;
    if (elapsedMs === 0) {
      this.#counters.duplicateFrames++;
      return undefined;
    }
    if (elapsedMs < 0 && elapsedMs >= -LATE_MS_MAX) {
      this.#counters.lateFrames++;
      return undefined;
    }
    this.#lastMs = timestampMs;
    if (elapsedMs < 0) {
      // The frames still come at their own pace: only the clock that stamps them was set.
      this.#counters.timeJumps++;
      return this.#intervalMs;
    }
    if (elapsedMs > SILENCE_MS_MAX) {
      this.#counters.timeJumps++;
      this.#counters.tracksDeleted += partition(this.#tracks)[1].length;
      this.#tracks = [];
      return 0;
    }
    this.#intervalMs = elapsedMs;
    return elapsedMs;
  }

  #motionModel(): MotionModel {
    const { km, sdKm } = this.#wavelength.estimate;
    const divisorKm = this.#wavelength.divisorKm;
    return {
      wavelengthKm: km,
      wavelengthSdKm: sdKm,
      dopplerRateDensity: this.#config.rangeJerkDensity / divisorKm ** 2,
    };
  }

  #associate(tracks: readonly Track[], set: DetectionSet): void {
    if (tracks.length === 0) return;
    const { detectionOfTrack, greedyClusters } = associate(tracks, set, this.#config.gateThreshold);
    this.#counters.greedyClusters += greedyClusters;
    for (let index = 0; index < tracks.length; index++) {
      const track = tracks[index] as Track;
      const detection = detectionOfTrack[index] as number;
      if (detection >= 0) this.#hit(track, set, detection);
      else this.#miss(track);
    }
  }

  #hit(track: Track, set: DetectionSet, index: number): void {
    const { timestampMs } = set.frame;
    const delayKm = set.delayKm[index] as number;
    const dopplerHz = set.dopplerHz[index] as number;
    const variance = set.variance(index, this.#variance);
    const { filter } = track;
    if (track.state.at !== "tentative") {
      const predicted = { delay: filter.delayVariance, doppler: filter.dopplerVariance };
      const snrDb = set.frame.snrsDb[index] as number;
      this.#noise.learn(snrDb, delayKm - filter.delayKm, dopplerHz - filter.dopplerHz, predicted);
    }
    filter.update(delayKm, dopplerHz, variance);
    track.record(detectionAt(set, index));
    const wasTentative = track.state.at === "tentative";
    track.state = afterHit(track.state, this.#config.life, () =>
      trackId(timestampMs, this.#nextId++),
    );
    if (track.state.at !== "confirmed") return;
    if (wasTentative) this.#counters.tracksConfirmed++;
    const wavelength = this.#wavelength;
    track.span.observe(timestampMs, delayKm, dopplerHz, variance.delay, wavelength);
    if (wavelength.settled) {
      track.anomalies.observeRangeRate(wavelength.estimate.km * track.filter.dopplerHz);
    }
    this.#counters.events++;
    writeTrackEvent(this.#writer, track.state.id, track, timestampMs);
  }

  #miss(track: Track): void {
    const wasTentative = track.state.at === "tentative";
    track.state = afterMiss(track.state, this.#config.life);
    if (track.state.at === "deleted" && !wasTentative) this.#counters.tracksDeleted++;
  }

  /** Begins a tentative track at each detection that continues none. */
  #begin(set: DetectionSet): void {
    const rateSd = this.#config.rangeAccelerationSd / this.#wavelength.divisorKm;
    for (let index = 0; index < set.count; index++) {
      if (set.taken[index] === 1) continue;
      if (this.#tracks.length >= TRACKS_MAX) {
        this.#counters.tracksRefused++;
        continue;
      }
      const variance = set.variance(index, this.#variance);
      const filter = new DelayDopplerFilter(
        set.delayKm[index] as number,
        set.dopplerHz[index] as number,
        variance,
        rateSd ** 2,
      );
      this.#tracks.push(new Track(filter, detectionAt(set, index), this.#config.detectionWindow));
    }
  }
}

/** The tentative tracks, and the others. */
function partition(tracks: readonly Track[]): [Track[], Track[]] {
  const tentative: Track[] = [];
  const confirmed: Track[] = [];
  for (const track of tracks) (track.state.at === "tentative" ? tentative : confirmed).push(track);
  return [tentative, confirmed];
}

function detectionAt(set: DetectionSet, index: number): Detection {
  return {
    timestampMs: set.frame.timestampMs,
    delayKm: set.delayKm[index] as number,
    dopplerHz: set.dopplerHz[index] as number,
    snrDb: set.frame.snrsDb[index] as number,
    adsb: set.frame.adsb[index] ?? null,
  };
}
