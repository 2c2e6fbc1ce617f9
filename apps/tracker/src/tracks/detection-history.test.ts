import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Detection, DetectionHistory, HISTORY_MAX } from "./detection-history.ts";
import { ADSB_CHARS_MAX } from "../input/frame.ts";

function detection(timestampMs: number, adsb: Detection["adsb"] = null): Detection {
  return { timestampMs, delayKm: 1.5, dopplerHz: -2.25, snrDb: 10, adsb };
}

function read(history: DetectionHistory): unknown {
  return JSON.parse(`[${new TextDecoder().decode(history.json)}]`);
}

describe("DetectionHistory", () => {
  test("holds the latest detections, oldest first", () => {
    const history = new DetectionHistory(3);
    for (let time = 1; time <= 5; time++) history.append(detection(time));
    expect(read(history)).toEqual(
      [3, 4, 5].map((timestamp) => ({
        timestamp,
        delay: 1.5,
        doppler: -2.25,
        snr: 10,
        adsb: null,
      })),
    );
  });

  test("can hold a single detection", () => {
    const history = new DetectionHistory(1);
    for (let time = 1; time <= 3; time++) history.append(detection(time));
    expect(read(history)).toMatchObject([{ timestamp: 3 }]);
  });

  test("preserves every number and ADS-B object exactly", () => {
    const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
    const adsb = fc.option(fc.dictionary(fc.string(), fc.oneof(fc.string(), number)));
    const entry = fc.record({
      timestampMs: number,
      delayKm: number,
      dopplerHz: number,
      snrDb: number,
      adsb,
    });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 50 }), (entries) => {
        const history = new DetectionHistory(HISTORY_MAX);
        // `json` may be used at any time.
        for (const item of entries) {
          history.append(item);
          if (item.snrDb > 0) read(history);
        }
        const expected = entries.slice(-HISTORY_MAX).map((item) => ({
          timestamp: item.timestampMs,
          delay: item.delayKm,
          doppler: item.dopplerHz,
          snr: item.snrDb,
          adsb: item.adsb,
        }));
        expect(read(history)).toEqual(JSON.parse(JSON.stringify(expected)));
      }),
    );
  });

  test("passes on an ADS-B object of ADSB_CHARS_MAX, and replaces a longer one by null", () => {
    const ofLength = (chars: number): Detection["adsb"] => ({
      a: "é".repeat(chars - '{"a":""}'.length),
    });
    const history = new DetectionHistory(HISTORY_MAX);
    history.append(detection(1, ofLength(ADSB_CHARS_MAX)));
    history.append(detection(2, ofLength(ADSB_CHARS_MAX + 1)));
    expect(read(history)).toMatchObject([{ adsb: ofLength(ADSB_CHARS_MAX) }, { adsb: null }]);
  });
});
