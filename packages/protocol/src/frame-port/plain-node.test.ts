import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LINE_BYTES_MAX } from "../frames/lines.ts";
import { parsePlainLine, type PlainLine } from "./plain-node.ts";

const encoder = new TextEncoder();
const rest = '"delay":[1.5],"doppler":[-2],"snr":[3]';

function parse(line: string | Uint8Array): PlainLine {
  const bytes = typeof line === "string" ? encoder.encode(line) : line;
  return parsePlainLine(bytes, 0, bytes.length);
}

function problemOf(line: string | Uint8Array): string {
  const parsed = parse(line);
  return parsed.at === "bad" ? parsed.problem : parsed.at;
}

function forTracker(line: string): string {
  const parsed = parse(line);
  if (parsed.at !== "frame") throw new Error(`not a frame: ${JSON.stringify(parsed)}`);
  return Buffer.from(parsed.frame.bytes).toString();
}

describe("parsePlainLine", () => {
  test("returns the sender of a frame, and the frame without the credentials", () => {
    const line = `{"node_id":"radar3","token":"s3cret","timestamp":17,${rest},"adsb":[{"hex":"a"}]}`;
    expect(parse(line)).toMatchObject({
      at: "frame",
      nodeId: "radar3",
      token: "s3cret",
      frame: { timestampMs: 17 },
    });
    expect(forTracker(line)).toBe(`{"timestamp":17,${rest},"adsb":[{"hex":"a"}]}\n`);
  });

  test("strips credentials wherever they are, and nothing else", () => {
    const line = `{"timestamp":1,"token":"first",${rest},"x":{"token":"kept","node_id":7},"\\u0074oken":"last","node_id":"n"}`;
    expect(parse(line)).toMatchObject({ nodeId: "n", token: "last" });
    expect(JSON.parse(forTracker(line))).toEqual({
      timestamp: 1,
      delay: [1.5],
      doppler: [-2],
      snr: [3],
      x: { token: "kept", node_id: 7 },
    });
  });

  test("writes ASCII with the same value, for any extra keys", () => {
    const extras = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ maxDepth: 3 }));
    fc.assert(
      fc.property(extras, fc.integer(), (extra, timestamp) => {
        const { node_id: _a, token: _b, type: _c, adsb: _d, ...others } = extra;
        const frame = { ...others, timestamp, delay: [1], doppler: [2], snr: [3] };
        const bytes = forTracker(JSON.stringify({ node_id: "n", ...frame, token: "t" }));
        expect(bytes).toMatch(/^[\x20-\x7e\x7f]*\n$/);
        expect(JSON.stringify(JSON.parse(bytes))).toBe(JSON.stringify(frame));
      }),
    );
  });

  test("passes on a key named __proto__ like any other", () => {
    const line = `{"__proto__":{"a":1},"node_id":"n","token":"t","timestamp":1,${rest}}`;
    expect(forTracker(line)).toBe(`{"__proto__":{"a":1},"timestamp":1,${rest}}\n`);
  });

  test("recognises a heartbeat, whatever else it holds", () => {
    const heartbeat = { at: "heartbeat", nodeId: "n", token: "t" } as PlainLine;
    expect(parse('{"node_id":"n","token":"t","type":"heartbeat"}')).toEqual(heartbeat);
    expect(parse('{"type":"heartbeat","x":[],"token":"t","node_id":"n"}')).toEqual(heartbeat);
  });

  test.each([
    ["nothing", "", "bad_json"],
    ["half a line", '{"node_id":"n","token":"t","timest', "bad_json"],
    ["a bare word", "hello", "bad_json"],
    ["an HTTP request", "GET / HTTP/1.1\r", "bad_json"],
    ["an array", "[]", "not_an_object"],
    ["null", "null", "not_an_object"],
    ["no node_id", `{"token":"t","timestamp":1,${rest}}`, "bad_credentials"],
    ["no token", `{"node_id":"n","timestamp":1,${rest}}`, "bad_credentials"],
    ["an empty token", `{"node_id":"n","token":"","timestamp":1,${rest}}`, "bad_credentials"],
    ["a token that is no string", '{"node_id":"n","token":["t"]}', "bad_credentials"],
    [
      "a node_id with a dot",
      `{"node_id":"a.b","token":"t","timestamp":1,${rest}}`,
      "bad_credentials",
    ],
    [
      "a node_id with a path",
      '{"node_id":"../x","token":"t","type":"heartbeat"}',
      "bad_credentials",
    ],
    [
      "a node_id with a line end",
      '{"node_id":"a\\n","token":"t","type":"heartbeat"}',
      "bad_credentials",
    ],
    ["a number as node_id", '{"node_id":7,"token":"t","type":"heartbeat"}', "bad_credentials"],
    ["another type", '{"node_id":"n","token":"t","type":"RESET"}', "unknown_type"],
    [
      "a type that is no string",
      `{"node_id":"n","token":"t","type":null,"timestamp":1,${rest}}`,
      "unknown_type",
    ],
    ["no timestamp", `{"node_id":"n","token":"t",${rest}}`, "bad_timestamp"],
    [
      "null in an array",
      '{"node_id":"n","token":"t","timestamp":1,"delay":[null],"doppler":[1],"snr":[1]}',
      "bad_arrays",
    ],
    [
      "ragged arrays",
      '{"node_id":"n","token":"t","timestamp":1,"delay":[],"doppler":[1],"snr":[1]}',
      "ragged_arrays",
    ],
    [
      "a number in adsb",
      `{"node_id":"n","token":"t","timestamp":1,${rest},"adsb":[3]}`,
      "bad_adsb",
    ],
    [
      "a number that would change its value",
      `{"node_id":"n","token":"t","timestamp":1,${rest},"x":1e999}`,
      "bad_number",
    ],
  ])("refuses %s", (_what, line, problem) => {
    expect(problemOf(line)).toBe(problem);
  });

  test("refuses invalid UTF-8 as such", () => {
    const line = Uint8Array.of(...encoder.encode('{"node_id":"n","token":"'), 0xff, 0x22, 0x7d);
    expect(problemOf(line)).toBe("bad_utf8");
  });

  test("returns the sender of a bad frame once it is known", () => {
    expect(parse('{"node_id":"n","token":"t","timestamp":null}')).toMatchObject({
      from: { nodeId: "n", token: "t" },
    });
    expect(parse('{"node_id":"n","timestamp":null}')).toMatchObject({ from: undefined });
  });

  test("refuses deep nesting, and does not crash on it", () => {
    for (const depth of [64, 1000, 500_000]) {
      const deep = `${"[".repeat(depth)}${"]".repeat(depth)}`;
      expect(problemOf(`{"node_id":"n","token":"t","timestamp":1,${rest},"x":${deep}}`)).toBe(
        "too_deep",
      );
    }
  });

  test("refuses a frame that would be longer than a line once it is ASCII", () => {
    const bare = `{"timestamp":1,${rest},"x":""}\n`.length;
    const line = (chars: number, more: string): string =>
      `{"node_id":"n","token":"t","timestamp":1,${rest},"x":"${"é".repeat(chars)}${more}"}`;
    const chars = Math.floor((LINE_BYTES_MAX - bare) / 6);
    const filler = LINE_BYTES_MAX - bare - chars * 6;
    expect(forTracker(line(chars, "x".repeat(filler))).length).toBe(LINE_BYTES_MAX);
    expect(problemOf(line(chars, "x".repeat(filler + 1)))).toBe("too_long");
  });

  test("accepts tokens of up to 4096 characters", () => {
    const line = (length: number): string =>
      `{"node_id":"n","token":"${"x".repeat(length)}","type":"heartbeat"}`;
    expect(problemOf(line(4096))).toBe("heartbeat");
    expect(problemOf(line(4097))).toBe("bad_credentials");
  });

  test("never throws, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(parse(bytes).at).toBe("bad");
      }),
    );
  });
});
