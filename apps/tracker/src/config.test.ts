import { describe, expect, test } from "bun:test";
import { DEFAULT_CONFIG, parseConfig } from "./config.ts";

function problemsOf(document: unknown): string[] {
  const result = parseConfig(document);
  if (result.ok) throw new Error("no problems");
  return result.problems.map(({ path, message }) => `${path} ${message}`);
}

describe("parseConfig", () => {
  test("takes the defaults for what is not given", () => {
    for (const empty of [null, undefined, {}, { tracker: null }, { tracker: {} }]) {
      expect(parseConfig(empty)).toEqual({ ok: true, config: DEFAULT_CONFIG });
    }
  });

  test("merges a partial file", () => {
    const result = parseConfig({ tracker: { m_threshold: 4 }, radar: { center_frequency: 195e6 } });
    expect(result).toEqual({
      ok: true,
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
        tracker: { m_threshold: 2.5, n_delete: "10", n_windows: 3 },
        radar: { center_frequency: 195 },
        tcp: { host: "", port: 65_536 },
        tracking: {},
        measurement_noise: 3,
        __proto__x: 1,
      }),
    ).toEqual([
      "tracker.m_threshold must be a whole number from 1 to 1000",
      "tracker.n_delete must be a whole number from 1 to 1000",
      "tracker.n_windows is not a known key",
      "radar.center_frequency must be a number from 1000000 to 100000000000",
      "tcp.host must be a non-empty string",
      "tcp.port must be a whole number from 0 to 65535",
      "tracking is not a known section",
      "measurement_noise must be a mapping",
      "__proto__x is not a known section",
    ]);
  });

  test("does not take inherited names for known ones", () => {
    expect(problemsOf({ constructor: {} })).toEqual(["constructor is not a known section"]);
    expect(problemsOf({ tcp: { toString: 1 } })).toEqual(["tcp.toString is not a known key"]);
  });

  test("wants a mapping", () => {
    for (const document of [[], "text", 7]) {
      expect(problemsOf(document)).toEqual(["(file) is not a mapping"]);
    }
  });

  test("wants M of N to be possible", () => {
    expect(parseConfig({ tracker: { m_threshold: 5, n_window: 5 } }).ok).toBe(true);
    expect(problemsOf({ tracker: { m_threshold: 6, n_window: 5 } })).toEqual([
      "tracker.m_threshold must not exceed tracker.n_window",
    ]);
  });
});
