import { describe, expect, test } from "bun:test";
import { DEFAULT_CONFIG, parseConfig } from "./config.ts";

function problemsOf(document: unknown): string[] {
  const result = parseConfig(document);
  if (result.ok) throw new Error("no problems");
  return result.problems.map(({ path, message }) => `${path} ${message}`);
}

describe("parseConfig", () => {
  test("uses the defaults for missing values", () => {
    for (const empty of [null, undefined, {}, { tracker: null }, { tracker: {} }]) {
      expect(parseConfig(empty)).toEqual({ ok: true, config: DEFAULT_CONFIG, ignored: [] });
    }
  });

  test("merges a partial file", () => {
    const result = parseConfig({ tracker: { m_threshold: 4 }, radar: { center_frequency: 195e6 } });
    expect(result).toEqual({
      ok: true,
      ignored: [],
      config: {
        ...DEFAULT_CONFIG,
        life: { ...DEFAULT_CONFIG.life, hitsMin: 4 },
        centerFrequencyHz: 195e6,
      },
    });
  });

  test("reports every problem with its path", () => {
    expect(
      problemsOf({
        tracker: { m_threshold: 2.5, n_delete: "10", n_coast: 3 },
        radar: { center_frequency: 195 },
        tcp: { host: "", port: 65_536 },
        measurement_noise: 3,
      }),
    ).toEqual([
      "tracker.m_threshold must be a whole number from 1 to 1000",
      "tracker.n_delete must be a whole number from 1 to 1000",
      "radar.center_frequency must be a number from 1000000 to 100000000000",
      "tcp.host must be a non-empty string",
      "tcp.port must be a whole number from 0 to 65535",
      "measurement_noise must be a mapping",
    ]);
  });

  test("accepts a config file of the public tracker, and lists the ignored keys", () => {
    const result = parseConfig({
      tracker: {
        m_threshold: 3,
        n_window: 6,
        n_delete: 10,
        n_coast: 3,
        min_snr: 4,
        gate_threshold: 9,
      },
      radar: { blah2_config: null, center_frequency: 177000000 },
      process_noise: { range_jerk: 1e-7, adaptive: true, max_scale: 25, nis_memory: 0.25 },
      adsb: { enabled: true, reference_location: { latitude: 37.8, longitude: -122.4 } },
      output: { max_bytes: 67108864, backup_count: 1 },
      paths: null,
    });
    expect(result).toMatchObject({
      ok: true,
      config: {
        life: { hitsMin: 3, window: 6, missedMax: 10 },
        snrMinDb: 4,
        gateThreshold: 9,
        centerFrequencyHz: 177e6,
        rangeJerkDensity: { steady: 1e-7, turning: DEFAULT_CONFIG.rangeJerkDensity.turning },
      },
      ignored: [
        "tracker.n_coast",
        "radar.blah2_config",
        "process_noise.adaptive",
        "process_noise.max_scale",
        "process_noise.nis_memory",
        "adsb",
        "output",
        "paths",
      ],
    });
  });

  test("does not accept inherited property names as keys", () => {
    const result = parseConfig({ constructor: {}, tcp: { toString: 1 } });
    expect(result).toEqual({
      ok: true,
      config: DEFAULT_CONFIG,
      ignored: ["constructor", "tcp.toString"],
    });
  });

  test("requires a mapping", () => {
    for (const document of [[], "text", 7]) {
      expect(problemsOf(document)).toEqual(["(file) is not a mapping"]);
    }
  });

  test("requires M not to exceed N", () => {
    expect(parseConfig({ tracker: { m_threshold: 5, n_window: 5 } }).ok).toBe(true);
    expect(problemsOf({ tracker: { m_threshold: 6, n_window: 5 } })).toEqual([
      "tracker.m_threshold must not exceed tracker.n_window",
    ]);
  });
});
