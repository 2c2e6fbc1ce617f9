import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DETECTIONS_MAX, type Frame, parseLine, type SkipReason } from "./frame.ts";

const encoder = new TextEncoder();

function parse(text: string) {
  const bytes = encoder.encode(text);
  return parseLine(bytes, 0, bytes.length);
}

function frameOf(text: string): Frame {
  const line = parse(text);
  if (line.is !== "frame") throw new Error(`not a frame: ${text}`);
  return line.frame;
}

const GOOD =
  '{"timestamp":1000,"delay":[1,2],"doppler":[3,4],"snr":[5,6],"adsb":[null,{"hex":"a"}]}';

describe("parseLine", () => {
  test("parses a frame", () => {
    expect(frameOf(GOOD)).toEqual({
      timestampMs: 1000,
      delaysKm: [1, 2],
      dopplersHz: [3, 4],
      snrsDb: [5, 6],
      adsb: [null, { hex: "a" }],
    });
  });

  test("parses no further than the line", () => {
    const bytes = encoder.encode(`xx${GOOD}\n{"timestamp":`);
    expect(parseLine(bytes, 2, 2 + GOOD.length).is).toBe("frame");
  });

  test("tolerates CR, extra keys, and absent arrays", () => {
    expect(parse(`${GOOD}\r`).is).toBe("frame");
    expect(frameOf('{"timestamp":1,"node":"x"}').delaysKm).toEqual([]);
    expect(frameOf('{"timestamp":1,"delay":[1],"doppler":[2],"snr":[3]}').adsb).toEqual([null]);
  });

  test("truncates ragged arrays to the shortest", () => {
    const frame = frameOf(
      '{"timestamp":1,"delay":[1,2,3],"doppler":[4,5],"snr":[6,7,8],"adsb":[{}]}',
    );
    expect(frame.delaysKm).toEqual([1, 2]);
    expect(frame.snrsDb).toEqual([6, 7]);
    expect(frame.adsb).toEqual([{}, null]);
  });

  test("recognises RESET and blank lines", () => {
    expect(parse('{"type":"RESET"}')).toEqual({ is: "reset" });
    for (const blank of ["", " ", "\r", "\t \r"]) expect(parse(blank)).toEqual({ is: "blank" });
  });

  const bad: readonly (readonly [string, SkipReason])[] = [
    ['{"timestamp":1', "bad_json"],
    ["NaN", "bad_json"],
    ['{"timestamp":1,"delay":[NaN],"doppler":[1],"snr":[1]}', "bad_json"],
    ["[]", "not_an_object"],
    ["null", "not_an_object"],
    ["7", "not_an_object"],
    ['{"type":"heartbeat","timestamp":1}', "not_a_frame"],
    ['{"delay":[],"doppler":[],"snr":[]}', "bad_timestamp"],
    ['{"timestamp":"1"}', "bad_timestamp"],
    ['{"timestamp":null}', "bad_timestamp"],
    ['{"timestamp":1e300}', "bad_timestamp"],
    ['{"timestamp":1,"delay":1}', "bad_array"],
    ['{"timestamp":1,"delay":null}', "bad_array"],
    ['{"timestamp":1,"adsb":{}}', "bad_array"],
    ['{"timestamp":1,"delay":[null],"doppler":[1],"snr":[1]}', "bad_number"],
    ['{"timestamp":1,"delay":[1],"doppler":["1"],"snr":[1]}', "bad_number"],
    ['{"timestamp":1,"delay":[1],"doppler":[1],"snr":[1e999]}', "bad_number"],
    ['{"timestamp":1,"delay":[1],"doppler":[1],"snr":[1],"adsb":[1]}', "bad_adsb"],
    ['{"timestamp":1,"delay":[1],"doppler":[1],"snr":[1],"adsb":[[]]}', "bad_adsb"],
  ];
  test.each(bad)("skips %s", (text, reason) => {
    expect(parse(text)).toEqual({ is: "skipped", reason });
  });

  test("skips invalid UTF-8", () => {
    const bytes = encoder.encode(GOOD);
    bytes[GOOD.indexOf("hex")] = 0xff;
    expect(parseLine(bytes, 0, bytes.length)).toEqual({ is: "skipped", reason: "bad_utf8" });
  });

  test("accepts up to DETECTIONS_MAX detections", () => {
    const line = (count: number): string => {
      const numbers = JSON.stringify(Array.from({ length: count }, () => 1));
      return `{"timestamp":1,"delay":${numbers},"doppler":${numbers},"snr":${numbers}}`;
    };
    expect(frameOf(line(DETECTIONS_MAX)).delaysKm.length).toBe(DETECTIONS_MAX);
    expect(parse(line(DETECTIONS_MAX + 1))).toEqual({
      is: "skipped",
      reason: "too_many_detections",
    });
  });

  test("never throws", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(parseLine(bytes, 0, bytes.length).is).toBeString();
      }),
    );
    const value = fc.oneof(fc.jsonValue(), fc.constant([1, 2]));
    const keys = {
      timestamp: fc.oneof(fc.double(), value),
      delay: value,
      doppler: value,
      snr: value,
      adsb: value,
    };
    fc.assert(
      fc.property(fc.record(keys, { requiredKeys: [] }), (object) => {
        expect(parse(JSON.stringify(object)).is).toBeString();
      }),
    );
  });
});
