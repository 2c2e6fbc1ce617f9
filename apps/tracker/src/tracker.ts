/**
 * The multi-target tracker: turns frames into events. (T10) For each frame it predicts every track, associates confirmed tracks
 * first and tentative ones with the remaining detections, updates them, merges tracks of the same target, and starts a
 * tentative track at every unused detection. Owned by `session.ts`.
 */
import { associate, DetectionSet, identityRatio } from "./association/association.ts";
import type { TrackerConfig } from "./config.ts";
import type { Counters } from "./events/counters.ts";
import type { Detection } from "./tracks/detection-history.ts";
import { Existence, existenceTransition } from "./tracks/existence.ts";
import { bornLine, droppedLine, mergedLine, resumedLine, silenceLine } from "./events/explain.ts";
import type { Frame } from "./input/frame.ts";
import type { Innovation, MeasurementVariance, MotionModel } from "./estimation/kalman.ts";
import { ManoeuvreFilter, manoeuvreModel } from "./estimation/manoeuvre.ts";
import { MeasurementNoise } from "./estimation/measurement-noise.ts";
import { findResumed } from "./association/resume.ts";
import { findMergers } from "./association/mergers.ts";
import { SensorModel } from "./estimation/sensor-model.ts";
import { Timeline } from "./input/timeline.ts";
import { afterHit, afterMiss, Track, type TrackState } from "./tracks/track.ts";
import { type EventWriter, trackId, writeTrackEvent } from "./events/track-event.ts";
import { Wavelength } from "./estimation/wavelength.ts";

/** Tracks in all states. At this number, no detection starts a new one. */
export const TRACKS_MAX = 2048;
/** Factor by which an ADS-B match raises the odds that a detection belongs to a target. */
const LABEL_RATIO = 100;
/** The hypothesis of an older target is compared with that of a target that is new within this time, s. */
const BIRTH_S = 2;

/** The outputs of the tracker. */
export interface TrackerOutput {
  /** Receives one event line per confirmed track and frame in which it was detected. */
  readonly events: EventWriter;
  /** Receives a line about the stream that its owner should know, such as the learned center frequency. */
  readonly report: (line: string) => void;
  /** Receives a line whenever a track is born, resumed, merged or dropped, with the reason; undefined without `--explain`. */
  readonly explain: ((line: string) => void) | undefined;
}

export class Tracker {
  readonly #config: TrackerConfig;
  readonly #counters: Counters;
  readonly #output: TrackerOutput;
  readonly #wavelength: Wavelength;
  readonly #noise: MeasurementNoise;
  readonly #variance: MeasurementVariance = { delay: 0, doppler: 0 };
  readonly #innovation: Innovation = { distanceSquared: 0, likelihood: 0 };
  #sensor: SensorModel;
  #timeline = new Timeline();
  #tracks: Track[] = [];
  #nextId = 0;

  constructor(config: TrackerConfig, counters: Counters, output: TrackerOutput) {
    this.#config = config;
    this.#counters = counters;
    this.#output = output;
    this.#noise = new MeasurementNoise(config.measurementNoise);
    this.#wavelength = new Wavelength(config.centerFrequencyHz ?? undefined);
    this.#sensor = new SensorModel(this.#wavelength.divisorKm);
  }

  /** Discards all state except the counter of track ids. */
  reset(): void {
    this.#tracks = [];
    this.#timeline = new Timeline();
    this.#wavelength.reset();
    this.#noise.reset();
    this.#sensor = new SensorModel(this.#wavelength.divisorKm);
  }

  process(frame: Frame): void {
    const elapsedMs = this.#advance(frame.timestampMs);
    if (elapsedMs === undefined) return;
    this.#counters.frames++;
    this.#counters.detections += frame.delaysKm.length;
    this.#predict(elapsedMs / 1000);

    const set = new DetectionSet(frame, this.#noise, this.#sensor, this.#config.snrMinDb);
    const [tentative, confirmed] = partition(this.#tracks);
    this.#associate(confirmed, set);
    this.#learnFalseAlarms(set);
    this.#merge(confirmed, frame.timestampMs);
    this.#associate(tentative, set);
    this.#tracks = this.#tracks.filter(({ state }) => state.at !== "deleted");
    this.#begin(set);
  }

  /** The time step of the prediction, ms; undefined when the frame must be skipped. */
  #advance(timestampMs: number): number | undefined {
    const step = this.#timeline.advance(timestampMs);
    switch (step.is) {
      case "duplicate":
        this.#counters.duplicateFrames++;
        return undefined;
      case "late":
        this.#counters.lateFrames++;
        return undefined;
      case "silence":
        this.#counters.timeJumps++;
        this.#dropAll(step.elapsedMs);
        return 0;
      case "set_back":
        this.#counters.timeJumps++;
        return step.elapsedMs;
      case "step":
        return step.elapsedMs;
    }
  }

  /** Drops all tracks after a silence. */
  #dropAll(silentMs: number): void {
    for (const { state } of this.#tracks) {
      if (state.at !== "confirmed" && state.at !== "coasting") continue;
      this.#counters.tracksDeleted++;
      this.#output.explain?.(silenceLine(state.id, silentMs));
    }
    this.#tracks = [];
  }

  #predict(elapsedS: number): void {
    const { km: wavelengthKm, sdKm: wavelengthSdKm } = this.#wavelength.estimate;
    const { steady, turning } = this.#config.rangeJerkDensity;
    const motion = (rangeJerkDensity: number): MotionModel => ({
      wavelengthKm,
      wavelengthSdKm,
      dopplerRateDensity: rangeJerkDensity / this.#wavelength.divisorKm ** 2,
    });
    const model = manoeuvreModel(elapsedS, motion(steady), motion(turning));
    const transition = existenceTransition(elapsedS);
    for (const { filter, existence } of this.#tracks) {
      filter.predict(model);
      existence.predict(transition);
    }
  }

  #associate(tracks: readonly Track[], set: DetectionSet): void {
    if (tracks.length === 0) return;
    const { detectionOfTrack, greedyClusters } = associate(
      tracks,
      set,
      this.#config.gateThreshold,
      this.#sensor,
    );
    this.#counters.greedyClusters += greedyClusters;
    for (let index = 0; index < tracks.length; index++) {
      const track = tracks[index] as Track;
      const detection = detectionOfTrack[index] as number;
      if (detection >= 0) this.#hit(track, set, detection);
      else this.#miss(track);
    }
  }

  #hit(track: Track, set: DetectionSet, index: number): void {
    if (track.state.at === "confirmed") this.#sensor.learnDetection(true);
    if (track.state.at !== "tentative") this.#learnMeasurement(track, set, index);
    this.#update(track, set, index);
    const before = track.state;
    const state = afterHit(before, track.existence.probability, this.#config.life, () =>
      trackId(set.frame.timestampMs, this.#nextId++),
    );
    if (before.at === "tentative" && state.at === "confirmed") {
      this.#confirm(track, before, state, set, index);
      return;
    }
    track.state = state;
    if (state.at === "confirmed") this.#publish(track, state.id, set, index);
  }

  /** Updates the estimate, the existence probability and the history of a track with a detection. */
  #update(track: Track, set: DetectionSet, index: number): void {
    const delayKm = set.delayKm[index] as number;
    const dopplerHz = set.dopplerHz[index] as number;
    const variance = set.variance(index, this.#variance);
    const { filter, existence, presence } = track;
    filter.innovation(delayKm, dopplerHz, variance, this.#innovation);
    const { detectionProbability } = this.#sensor;
    const clutterDensity = set.clutterDensity[index] as number;
    const identity = identityRatio(track.adsbHex, set.hex[index] ?? null);
    const snrDb = set.frame.snrsDb[index] as number;
    const strength = this.#sensor.amplitude.ratio(snrDb, track.snrDb);
    const ratio = (this.#innovation.likelihood * identity * strength) / clutterDensity;
    const present = presence * detectionProbability;
    const odds = (present * ratio) / (1 - present);
    existence.hit(detectionProbability * ratio);
    filter.update(delayKm, dopplerHz, variance, 1 - 1 / (1 + odds));
    track.record(detectionAt(set, index));
  }

  /** Confirms a tentative track: it follows a new target, or resumes a coasting track. */
  #confirm(
    track: Track,
    before: Extract<TrackState, { readonly at: "tentative" }>,
    confirmed: Extract<TrackState, { readonly at: "confirmed" }>,
    set: DetectionSet,
    index: number,
  ): void {
    const old = findResumed(track, this.#tracks, this.#newDensity);
    if (old === undefined) {
      track.state = confirmed;
      this.#counters.tracksConfirmed++;
      this.#output.explain?.(bornLine(confirmed.id, track, before.frames + 1));
      this.#publish(track, confirmed.id, set, index);
      return;
    }
    const { id } = old.state;
    this.#counters.tracksResumed++;
    this.#output.explain?.(resumedLine(id, old.track, track));
    old.track.absorb(track);
    old.track.state = { at: "confirmed", id };
    track.state = { at: "deleted" };
    this.#publish(old.track, id, set, index);
  }

  /** Density of new targets expected within BIRTH_S, per km, Hz and Hz/s. */
  get #newDensity(): number {
    const rateSpanHzS = (2 * this.#config.rangeAccelerationSd) / this.#wavelength.divisorKm;
    return this.#sensor.birthDensity(BIRTH_S) / rateSpanHzS;
  }

  /** Learns λ and the speed from the latest detection of a confirmed track, and writes its event. */
  #publish(track: Track, id: string, set: DetectionSet, index: number): void {
    const { timestampMs } = set.frame;
    const delayKm = set.delayKm[index] as number;
    const dopplerHz = set.dopplerHz[index] as number;
    const wavelength = this.#wavelength;
    const { delay } = set.variance(index, this.#variance);
    track.span.observe(timestampMs, delayKm, dopplerHz, delay, wavelength);
    const notice = wavelength.takeNotice();
    if (notice !== undefined) this.#output.report(notice);
    if (wavelength.isSettled) {
      track.anomalies.observeRangeRate(wavelength.estimate.km * track.filter.estimate.dopplerHz);
    }
    this.#counters.events++;
    writeTrackEvent(this.#output.events, id, track, timestampMs);
  }

  #miss(track: Track): void {
    const before = track.state;
    if (before.at === "confirmed") this.#sensor.learnDetection(false);
    track.existence.miss(this.#sensor.detectionProbability);
    track.state = afterMiss(before, track.existence.probability, this.#config.life);
    if (track.state.at !== "deleted" || !("id" in before)) return;
    this.#counters.tracksDeleted++;
    const missed = before.at === "coasting" ? before.missed + 1 : 1;
    this.#output.explain?.(droppedLine(before.id, track, missed, this.#config.life));
  }

  #learnMeasurement(track: Track, set: DetectionSet, index: number): void {
    const snrDb = set.frame.snrsDb[index] as number;
    if (track.snrDb !== undefined) this.#sensor.amplitude.learnTarget(snrDb, track.snrDb);
    const { estimate } = track.filter;
    this.#noise.learn(
      snrDb,
      (set.delayKm[index] as number) - estimate.delayKm,
      (set.dopplerHz[index] as number) - estimate.dopplerHz,
      { delay: estimate.delayVariance, doppler: estimate.dopplerVariance },
    );
  }

  /** Learns from the detections that no confirmed track uses. Except for the few of new targets, they are false alarms. */
  #learnFalseAlarms(set: DetectionSet): void {
    const free: number[] = [];
    for (let index = 0; index < set.count; index++) if (set.taken[index] === 0) free.push(index);
    this.#sensor.learnFalseAlarms(free.length);
    for (const index of free) {
      this.#sensor.amplitude.learnFalseAlarm(set.frame.snrsDb[index] as number);
      this.#sensor.learnFalseAlarmAt(set.delayKm[index] as number, set.dopplerHz[index] as number);
    }
  }

  /** Deletes tracks that follow the same target as an older one. */
  #merge(confirmed: readonly Track[], timestampMs: number): void {
    const alive = confirmed.filter(({ state }) => state.at !== "deleted");
    for (const { kept, dropped } of findMergers(alive, timestampMs, this.#newDensity)) {
      if ("id" in kept.state && "id" in dropped.state) {
        this.#output.explain?.(mergedLine(dropped.state.id, kept.state.id));
      }
      // The track that was detected last has the better estimate.
      if (dropped.lastMs > kept.lastMs) kept.adoptEstimate(dropped);
      dropped.state = { at: "deleted" };
      this.#counters.tracksMerged++;
    }
  }

  /** Starts a tentative track at each detection that continues none. */
  #begin(set: DetectionSet): void {
    const rateSd = this.#config.rangeAccelerationSd / this.#wavelength.divisorKm;
    const intervalS = this.#timeline.intervalMs / 1000;
    for (let index = 0; index < set.count; index++) {
      if (set.taken[index] === 1) continue;
      if (this.#tracks.length >= TRACKS_MAX) {
        this.#counters.tracksRefused++;
        continue;
      }
      const filter = new ManoeuvreFilter(
        set.delayKm[index] as number,
        set.dopplerHz[index] as number,
        set.variance(index, this.#variance),
        rateSd ** 2,
      );
      const odds = this.#sensor.birthOdds(intervalS, set.clutterDensity[index] as number);
      const existence = new Existence(set.hex[index] === null ? odds : odds * LABEL_RATIO);
      const first = detectionAt(set, index);
      this.#tracks.push(new Track(filter, existence, first, this.#config.detectionWindow));
    }
  }
}

/** Separates the tentative tracks from the others. */
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
