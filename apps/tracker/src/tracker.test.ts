import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { DEFAULT_CONFIG } from "./config.ts";
import { createCounters } from "./events/counters.ts";
import type { Frame } from "./input/frame.ts";
import {
  CollectingWriter,
  type Flight,
  frameAt,
  gaussian,
  INTERVAL_MS,
  START_MS,
  type TrackEvent,
} from "./testing.ts";
import { Tracker, TRACKS_MAX } from "./tracker.ts";

const FLIGHT: Flight = { delayKm: 40, dopplerHz: 120, dopplerRateHzS: -0.5, hex: "a1b2c3" };
const OTHER: Flight = { delayKm: 20, dopplerHz: -80 };

function setUp() {
  const writer = new CollectingWriter();
  const counters = createCounters();
  const reports: string[] = [];
  const story: string[] = [];
  const tracker = new Tracker(DEFAULT_CONFIG, counters, {
    events: writer,
    report: (line) => reports.push(line),
    explain: (line) => story.push(line),
  });
  /** Processes frames `from` to `to` (exclusive) of `flights`, shifted by `shiftMs`, and returns their events. */
  const run = (from: number, to: number, flights: readonly Flight[], shiftMs = 0): TrackEvent[] => {
    for (let index = from; index < to; index++) {
      const frame = frameAt(index, flights);
      tracker.process({ ...frame, timestampMs: frame.timestampMs + shiftMs });
    }
    return writer.take();
  };
  return { tracker, counters, writer, run, reports, story };
}

function idsOf(events: readonly TrackEvent[]): string[] {
  return [...new Set(events.map((event) => event.track_id))];
}

describe("Tracker", () => {
  test("writes no event before the third detection of a track, then one for each", () => {
    const { run } = setUp();
    expect(run(0, 2, [FLIGHT])).toEqual([]);
    const events = run(2, 40, [FLIGHT]);
    expect(events.map((event) => event.length)).toEqual(
      Array.from({ length: 38 }, (_, index) => index + 3),
    );
    expect(idsOf(events)).toEqual(["260708-000000"]);
  });

  test("writes the events of the public tracker, field by field", () => {
    const { run } = setUp();
    const [event] = run(0, 3, [{ ...OTHER, hex: "abc123" }]);
    const frames = [0, 1, 2].map((index) => frameAt(index, [OTHER]));
    expect(event).toEqual({
      track_id: "260708-000000",
      adsb_hex: "abc123",
      adsb_initialized: true,
      timestamp: START_MS + 2 * INTERVAL_MS,
      length: 3,
      detections: frames.map((frame) => ({
        timestamp: frame.timestampMs,
        delay: frame.delaysKm[0] ?? Number.NaN,
        doppler: frame.dopplersHz[0] ?? Number.NaN,
        snr: 12,
        adsb: { hex: "abc123" },
      })),
      is_anomalous: false,
      max_velocity_ms: 0,
      anomaly_types: [],
    });
    expect(Object.keys(event ?? {})).toEqual([
      "track_id",
      "adsb_hex",
      "adsb_initialized",
      "timestamp",
      "length",
      "detections",
      "is_anomalous",
      "max_velocity_ms",
      "anomaly_types",
    ]);
  });

  test("includes the 20 latest detections in an event", () => {
    const { run } = setUp();
    const last = run(0, 30, [FLIGHT]).at(-1);
    expect(last?.length).toBe(30);
    expect(last?.detections.map(({ timestamp }) => timestamp)).toEqual(
      Array.from({ length: 20 }, (_, index) => START_MS + (index + 10) * INTERVAL_MS),
    );
  });

  test("keeps a track through a fade of 8 s without an event, and drops it within half a minute", () => {
    const survivor = setUp();
    survivor.run(0, 20, [FLIGHT]);
    expect(survivor.run(20, 36, [])).toEqual([]);
    const events = survivor.run(36, 44, [FLIGHT]);
    expect(idsOf(events)).toEqual(["260708-000000"]);
    expect(events.at(-1)?.length).toBe(28);

    const lost = setUp();
    lost.run(0, 20, [FLIGHT]);
    lost.run(20, 80, []);
    expect(lost.counters.tracksDeleted).toBe(1);
    expect(lost.story.at(-1)).toMatch(
      /^260708-000000 dropped: target probability \d+\.\d % after \d+ consecutive frames without a detection; last detected at \d+, 20 detections$/,
    );
    expect(idsOf(lost.run(80, 83, [FLIGHT]))).toEqual(["260708-000001"]);
  });

  test("does not merge two aircraft that fly side by side", () => {
    const { tracker, counters } = setUp();
    const random = seededRandom(9);
    const wing = [OTHER, { ...OTHER, delayKm: OTHER.delayKm + 0.6 }];
    for (let index = 0; index < 200; index++) {
      const seen = wing.filter(() => random.next() < 0.8);
      tracker.process(frameAt(index, seen, random));
    }
    expect([counters.tracksConfirmed, counters.tracksMerged]).toEqual([2, 0]);
  });

  test("never confirms clutter that does not move like a target", () => {
    const { tracker, writer, counters } = setUp();
    const random = seededRandom(3);
    for (let index = 0; index < 400; index++) {
      const places = Array.from({ length: 5 }, () => ({
        delayKm: 90 * random.next(),
        dopplerHz: -300 + 600 * random.next(),
        snrDb: 6,
      }));
      tracker.process({ ...frameAt(0, places), timestampMs: START_MS + index * INTERVAL_MS });
    }
    expect(counters.detections).toBe(2000);
    expect(idsOf(writer.take()).length).toBeLessThanOrEqual(1);
  });

  test("does not confuse two crossing aircraft despite noise", () => {
    const { tracker, writer } = setUp();
    const random = seededRandom(5);
    // They meet at frame 60, in delay and Doppler at once.
    const flights = [
      { delayKm: 40, dopplerHz: 100, dopplerRateHzS: 1 },
      { delayKm: 40 - 0.0461, dopplerHz: 160, dopplerRateHzS: -1, hex: "b" },
    ];
    const owner = new Map<string, Set<string>>();
    for (let index = 0; index < 120; index++) {
      tracker.process(frameAt(index, flights, random));
      for (const event of writer.take()) {
        const kind = event.detections.at(-1)?.adsb?.hex ?? "none";
        owner.set(event.track_id, (owner.get(event.track_id) ?? new Set()).add(kind));
      }
    }
    expect([...owner.values()].map((kinds) => [...kinds])).toEqual([["none"], ["b"]]);
  });

  test("tracks aircraft seen by a radar three times less precise than assumed", () => {
    const { tracker, writer } = setUp();
    const random = seededRandom(23);
    const flights = [FLIGHT, OTHER, { delayKm: 70, dopplerHz: 40 }];
    for (let index = 0; index < 400; index++) {
      const frame = frameAt(index, flights);
      tracker.process({
        ...frame,
        delaysKm: frame.delaysKm.map((delay) => delay + 0.35 * gaussian(random)),
        dopplersHz: frame.dopplersHz.map((doppler) => doppler + 4 * gaussian(random)),
      });
    }
    const late = writer.take().filter(({ timestamp }) => timestamp > START_MS + 150 * INTERVAL_MS);
    expect(idsOf(late).length).toBe(3);
    expect(late.length).toBeGreaterThan(0.98 * 3 * 249);
  });

  test("discards its tracks on reset, but does not reuse ids", () => {
    const { tracker, run } = setUp();
    run(0, 10, [FLIGHT]);
    tracker.reset();
    expect(run(10, 12, [FLIGHT])).toEqual([]);
    expect(idsOf(run(12, 13, [FLIGHT]))).toEqual(["260708-000001"]);
  });

  test("skips a frame with its predecessor's timestamp, and a late one", () => {
    const { tracker, counters, run } = setUp();
    run(0, 10, [FLIGHT]);
    tracker.process(frameAt(9, [FLIGHT]));
    tracker.process(frameAt(7, [FLIGHT]));
    expect(run(10, 11, [FLIGHT])).toMatchObject([{ length: 11 }]);
    expect([counters.duplicateFrames, counters.lateFrames, counters.frames]).toEqual([1, 1, 11]);
  });

  test("keeps its tracks when the source's clock is set back", () => {
    const { counters, run } = setUp();
    run(0, 20, [FLIGHT]);
    const events = run(20, 40, [FLIGHT], -3_600_000);
    expect(events.length).toBe(20);
    expect(idsOf(events)).toEqual(["260708-000000"]);
    expect(counters.timeJumps).toBe(1);
  });

  test("drops its tracks after a silence of more than 30 s", () => {
    const kept = setUp();
    kept.run(0, 20, [OTHER]);
    expect(kept.run(79, 80, [OTHER])).toMatchObject([{ track_id: "260708-000000" }]);
    const dropped = setUp();
    dropped.run(0, 20, [OTHER]);
    expect(dropped.run(80, 83, [OTHER])).toMatchObject([{ track_id: "260708-000001" }]);
    expect(dropped.counters.tracksDeleted).toBe(1);
  });

  test("starts no more than TRACKS_MAX tracks", () => {
    const { tracker, counters } = setUp();
    const many = Array.from({ length: TRACKS_MAX + 5 }, (_, index) => ({
      delayKm: index * 10,
      dopplerHz: 0,
    }));
    tracker.process(frameAt(0, many));
    expect(counters.tracksRefused).toBe(5);
  });

  test("survives frames with extreme numbers", () => {
    const { tracker, counters } = setUp();
    const huge = [0, -0, 1e-300, -1e300, 1.7e308];
    const frame = (timestampMs: number): Frame => ({
      timestampMs,
      delaysKm: huge,
      dopplersHz: huge.toReversed(),
      snrsDb: huge,
      adsb: huge.map(() => null),
    });
    for (const timestampMs of [0, -1, -8.64e15, 8.64e15, 0.5, 1, 2, 3, 4]) {
      tracker.process(frame(timestampMs));
    }
    expect(counters.frames).toBeGreaterThan(5);
  });
});
