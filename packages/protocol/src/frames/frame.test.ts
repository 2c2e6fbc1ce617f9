import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkFrame, DETECTIONS_MAX, encodeAscii, type FrameVerdict } from "./frame.ts";
import { scanFrame } from "./frame-scan.ts";
import { prepareFrames, scanPrepared } from "./frame-scan-wasm.ts";
import { LINE_BYTES_MAX } from "./lines.ts";

const encoder = new TextEncoder();
// A large chunk has the vector module built, so that the tests below use it.
prepareFrames(new Uint8Array(64 * 1024));

/** Checks a line that is alone in its buffer. */
function check(line: string | Uint8Array): FrameVerdict {
  const bytes = typeof line === "string" ? encoder.encode(line) : line;
  return checkFrame(bytes, 0, bytes.length);
}

function problemOf(line: string | Uint8Array): string {
  const verdict = check(line);
  return verdict.at === "not_frame" ? verdict.problem : verdict.at;
}

function quick(line: string): boolean {
  const bytes = encoder.encode(line);
  return scanFrame(bytes, 0, bytes.length);
}

function quickest(line: string): boolean {
  const bytes = encoder.encode(line);
  prepareFrames(bytes);
  return scanPrepared(bytes, 0, bytes.length);
}

const isAscii = (bytes: Uint8Array): boolean => bytes.every((b) => b < 0x80);

/**
 * A slow, independent implementation of the frame check. Returns the parsed line if it is a frame.
 */
function oracle(line: Uint8Array): Record<string, unknown> | undefined {
  const text = Buffer.from(line)
    .toString("utf8")
    .replace(/^\uFEFF/, "");
  const restored = Buffer.from(text, "utf8");
  const bom = line.length - restored.length;
  if ((bom !== 0 && bom !== 3) || Buffer.compare(restored, line.slice(bom)) !== 0) return undefined;
  let value: Record<string, unknown> | null;
  try {
    value = JSON.parse(text) as Record<string, unknown> | null;
  } catch {
    return undefined;
  }
  if (value === null || Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  const columns = ["delay", "doppler", "snr"].map((key) => value[key]);
  const numbers = [value["timestamp"], ...columns].flat();
  if (numbers.some((n) => typeof n !== "number" || Math.abs(n) === Infinity)) return undefined;
  if (!columns.every(Array.isArray) || Array.isArray(value["timestamp"])) return undefined;
  const lengths = new Set(columns.map((values) => (values as unknown[]).length));
  if (lengths.size !== 1 || Math.max(...lengths) > 4096) return undefined;
  if ("adsb" in value) {
    const { adsb } = value;
    if (!Array.isArray(adsb) || !lengths.has(adsb.length)) return undefined;
    if (!adsb.every((a) => typeof a === "object" && !Array.isArray(a))) return undefined;
  }
  const bare = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"/g, "");
  if ((bare.match(/\d[\d.eE+-]*/g) ?? []).some((n) => Number(n) === Infinity)) return undefined;
  let depth = 0;
  let deepest = 0;
  for (const bracket of bare.match(/[[\]{}]/g) ?? []) {
    depth += "[{".includes(bracket) ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest <= 64 ? value : undefined;
}

/** Compares the verdict on one line, and those of both fast paths, with the oracle's. */
function agrees(line: Uint8Array): void {
  const value = oracle(line);
  const verdict = checkFrame(line, 0, line.length);
  expect(verdict.at !== "not_frame").toBe(value !== undefined);
  if (scanFrame(line, 0, line.length)) expect(verdict.at).toBe("frame");
  prepareFrames(line);
  if (scanPrepared(line, 0, line.length)) expect(verdict.at).toBe("frame");
  if (value === undefined) return;
  expect(verdict.at).toBe(isAscii(line) ? "frame" : "reencoded");
  if (verdict.at !== "reencoded") return;
  const { replacement } = verdict;
  expect(isAscii(replacement)).toBe(true);
  expect(replacement.indexOf(10)).toBe(replacement.length - 1);
  expect(JSON.parse(Buffer.from(replacement).toString("ascii"))).toEqual(value);
}

/** Text of JSON documents that are frames, nearly frames, or look like them. */
const space = fc.oneof(
  { weight: 100, arbitrary: fc.constantFrom("", "", "", " ", "  ") },
  { weight: 1, arbitrary: fc.constantFrom("\t", "\r", "\t\r ") },
);
const plainNumber = fc.integer({ min: -999_999, max: 999_999 }).map((n) => String(n / 1000));
const oddNumber = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.constantFrom("0", "-0", "0.0", "1e5", "1E+3", "2.5e-7", "1e-999", "123456789012345678"),
  fc.constantFrom(`1${"0".repeat(305)}`, `0.${"3".repeat(400)}`, "999999999999999", "1e308"),
);
const badNumber = fc.constantFrom(
  "1e400",
  "-1e309",
  `1${"0".repeat(400)}`,
  "01",
  "-01",
  ".5",
  "1.",
  "+1",
  "-",
  "--1",
  "1e",
  "0x1",
  "NaN",
  "Infinity",
  "null",
  "true",
  '"1"',
  "[]",
  "{}",
  "",
);
const number = fc.oneof(
  { weight: 200, arbitrary: plainNumber },
  { weight: 10, arbitrary: oddNumber },
  { weight: 1, arbitrary: badNumber },
);
const timestamp = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 2 ** 43 }).map(String) },
  { weight: 2, arbitrary: number },
);
const anyText = fc.oneof(
  fc.string(),
  fc.string({ unit: "grapheme" }),
  fc.string({ unit: "binary" }),
  fc.constantFrom("", '"', "\\", "]}", "[[[{", "1e999", "\u2028", "\ud800", "é", "😀", "\u0000"),
);
const jsonString = fc.oneof(
  anyText.map((s) => JSON.stringify(s)),
  fc.constantFrom('"\\u0041"', '"\\/"', '"\\x"', '"\\u12"', '"\t"', '"\u007f"', '"'),
);
const { jsonValue } = fc.letrec<{ jsonValue: string }>((tie) => ({
  jsonValue: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    number,
    jsonString,
    fc.constantFrom("null", "true", "false"),
    listOf(tie("jsonValue")),
    objectOf(tie("jsonValue")),
    fc.constantFrom("null", "nul", "tru", "fals", "True"),
  ),
}));

function listOf(item: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const spaced = fc.tuple(space, item, space).map((parts) => parts.join(""));
  return fc
    .tuple(fc.array(spaced, { maxLength: 5 }), fc.integer({ min: 0, max: 60 }))
    .map(([items, n]) => `[${items.join(",")}${n === 0 ? "," : ""}]`);
}

function objectOf(item: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const member = fc
    .tuple(space, jsonString, space, space, item, space)
    .map(([a, key, b, c, value, d]) => `${a}${key}${b}:${c}${value}${d}`);
  return fc.array(member, { maxLength: 4 }).map((members) => `{${members.join(",")}}`);
}

function column(item: fc.Arbitrary<string>, length: number): fc.Arbitrary<string> {
  const spaced = fc.tuple(space, item, space).map((parts) => parts.join(""));
  const exactly = fc.array(spaced, { minLength: length, maxLength: length });
  return fc.oneof(
    { weight: 40, arbitrary: exactly.map((items) => `[${items.join(",")}]`) },
    { weight: 1, arbitrary: listOf(number) },
  );
}

const adsbItem = fc.oneof(
  { weight: 20, arbitrary: fc.constant("null") },
  { weight: 20, arbitrary: objectOf(jsonValue) },
  { weight: 1, arbitrary: jsonValue },
);

function spelling(key: string): fc.Arbitrary<string> {
  const escaped = `"\\u00${key.charCodeAt(0).toString(16)}${key.slice(1)}"`;
  return fc.oneof(
    { weight: 60, arbitrary: fc.constant(`"${key}"`) },
    { weight: 2, arbitrary: fc.constant(escaped) },
    { weight: 1, arbitrary: fc.constantFrom(`"${key}x"`, `"${key.slice(1)}"`, key, `'${key}'`) },
  );
}

const frameText = fc
  .integer({ min: 0, max: 5 })
  .chain((n) => {
    const member = (key: string, value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
      fc
        .tuple(space, spelling(key), space, space, value, space)
        .map(([a, k, b, c, v, d]) => `${a}${k}${b}:${c}${v}${d}`);
    const extra = fc.tuple(jsonString, jsonValue).map(([key, value]) => `${key}:${value}`);
    return fc.tuple(
      fc.tuple(
        member("timestamp", timestamp),
        member("delay", column(number, n)),
        member("doppler", column(number, n)),
        member("snr", column(number, n)),
      ),
      fc.array(member("adsb", column(adsbItem, n)), { maxLength: 1 }),
      fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(extra, { maxLength: 2 }) },
        { weight: 1, arbitrary: member("delay", column(number, n)).map((twice) => [twice]) },
      ),
    );
  })
  .chain(([required, adsb, extras]) => {
    const members = [...required, ...adsb, ...extras];
    return fc.tuple(
      fc.shuffledSubarray(members, { minLength: members.length }),
      space,
      space,
      fc.constantFrom("", "", "", "", "\uFEFF", ",", "}", "{", "x"),
    );
  })
  .map(([members, before, after, odd]) => {
    const object = `${before}{${members.join(",")}}${after}`;
    return odd === "\uFEFF" || odd === "{" ? `${odd}${object}` : `${object}${odd}`;
  });

describe("checkFrame", () => {
  const rest = '"delay":[1],"doppler":[2],"snr":[3]';

  test("agrees with a slow oracle on frames and near-frames in every spelling", () => {
    let frames = 0;
    let quickFrames = 0;
    fc.assert(
      fc.property(frameText, (line) => {
        agrees(encoder.encode(line));
        if (oracle(encoder.encode(line)) !== undefined) frames++;
        if (quick(line)) quickFrames++;
      }),
      { numRuns: 6000 },
    );
    // The generator must reach all paths, or this test would prove little.
    expect(frames).toBeGreaterThan(1000);
    expect(frames - quickFrames).toBeGreaterThan(500);
    expect(quickFrames).toBeGreaterThan(100);
  });

  const common = fc
    .array(
      fc.record({
        delay: fc.integer({ min: -999_999, max: 999_999 }).map((n) => n / 1000),
        doppler: fc.integer({ min: -99_999, max: 99_999 }).map((n) => n / 100),
        snr: fc.integer({ min: 0, max: 999 }).map((n) => n / 10),
        adsb: fc.oneof(
          fc.constant(null),
          fc.record({
            hex: fc.stringMatching(/^[0-9a-f]{6}$/),
            alt: fc.integer(),
            gs: fc.integer({ min: 0, max: 9999 }).map((n) => n / 10),
            flags: fc.array(fc.boolean(), { maxLength: 3 }),
          }),
        ),
      }),
      { maxLength: 12 },
    )
    .map((detections) => ({
      timestamp: 1_783_500_000_000 + detections.length,
      delay: detections.map((d) => d.delay),
      doppler: detections.map((d) => d.doppler),
      snr: detections.map((d) => d.snr),
      adsb: detections.map((d) => d.adsb),
    }));

  const pythonStyle = (value: unknown): string =>
    JSON.stringify(value).replaceAll(",", ", ").replaceAll(":", ": ");

  test("accepts what JSON.stringify and Python's json.dumps write in one pass", () => {
    fc.assert(
      fc.property(common, (frame) => {
        for (const line of [JSON.stringify(frame), pythonStyle(frame)]) {
          expect(quick(line)).toBe(true);
          agrees(encoder.encode(line));
        }
      }),
    );
  });

  /** As most programs write them: only numbers and words in `adsb`. */
  const flat = common.map(({ adsb, ...frame }) => ({
    ...frame,
    adsb: adsb.map((a) => (a === null ? null : { hex: a.hex, alt: a.alt, gs: a.gs, on: null })),
  }));

  test("accepts flat frames of JSON.stringify with vector instructions, anywhere in a chunk", () => {
    fc.assert(
      fc.property(flat, fc.string({ maxLength: 100 }), (frame, before) => {
        const line = JSON.stringify(frame);
        expect(quickest(line)).toBe(true);
        expect(quickest(JSON.stringify({ ...frame, adsb: undefined }))).toBe(true);
        const [a, b] = [`${before}\n`, `${line}\n`].map((s) => encoder.encode(s));
        const chunk = Buffer.concat([a!, b!, b!]);
        prepareFrames(chunk);
        const second = a!.length + b!.length;
        expect(scanPrepared(chunk, a!.length, second - 1)).toBe(true);
        expect(scanPrepared(chunk, second, chunk.length - 1)).toBe(true);
        expect(scanPrepared(chunk, a!.length, chunk.length - 1)).toBe(false);
      }),
    );
  });

  test("agrees with the oracle for odd numbers in the common spelling", () => {
    const numbersOf = (n: number): fc.Arbitrary<string> =>
      fc.array(number, { minLength: n, maxLength: n }).map((items) => `[${items.join(",")}]`);
    const member = fc.tuple(jsonString, fc.oneof(number, jsonString));
    const item = fc.oneof(
      { weight: 3, arbitrary: fc.constant("null") },
      {
        weight: 2,
        arbitrary: fc
          .array(member, { maxLength: 3 })
          .map((all) => `{${all.map(([key, value]) => `${key}:${value}`).join(",")}}`),
      },
    );
    const line = fc.integer({ min: 0, max: 9 }).chain((n) => {
      const adsb = fc.array(item, { minLength: n, maxLength: n });
      return fc
        .tuple(timestamp, numbersOf(n), numbersOf(n), numbersOf(n), adsb)
        .map(
          ([t, delay, doppler, snr, a]) =>
            `{"timestamp":${t},"delay":${delay},"doppler":${doppler},"snr":${snr},"adsb":[${a.join(",")}]}`,
        );
    });
    let taken = 0;
    fc.assert(
      fc.property(line, (text) => {
        agrees(encoder.encode(text));
        if (quickest(text)) taken++;
      }),
      { numRuns: 10_000 },
    );
    expect(taken).toBeGreaterThan(500);
    expect(taken).toBeLessThan(9500);
  });

  test("leaves very large chunks, and lines of another chunk, to the other paths", () => {
    const line = `{"timestamp":1,${rest}}`;
    const large = encoder.encode(`${line}\n${" ".repeat(512 * 1024)}`);
    prepareFrames(large);
    expect(scanPrepared(large, 0, line.length)).toBe(false);
    expect(checkFrame(large, 0, line.length).at).toBe("frame");
    const chunk = encoder.encode(line);
    prepareFrames(chunk);
    expect(scanPrepared(chunk, 0, line.length)).toBe(true);
    expect(scanPrepared(chunk.slice(), 0, line.length)).toBe(false);
  });

  test("never accepts a mutilated frame that the oracle refuses, nor the reverse", () => {
    const byte = fc.oneof(
      fc.constantFrom(...encoder.encode('{}[]",:.-+eE0129 \\\n\tntf')),
      fc.integer({ min: 0, max: 255 }),
    );
    const mutation = fc.record({
      kind: fc.constantFrom("set", "insert", "delete", "flip", "cut", "repeat"),
      at: fc.nat(),
      byte,
      length: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(
        fc.oneof(common, flat),
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        (frame, mutations) => {
          let line = [...encoder.encode(JSON.stringify(frame))];
          for (const m of mutations) {
            const at = m.at % (line.length + 1);
            if (m.kind === "set") line[at] = m.byte;
            else if (m.kind === "flip") line[at] = (line[at] ?? 0) ^ (1 << (m.byte % 8));
            else if (m.kind === "insert") line.splice(at, 0, m.byte);
            else if (m.kind === "delete") line.splice(at, m.length);
            else if (m.kind === "cut") line = line.slice(0, at);
            else line.splice(at, 0, ...line.slice(at, at + m.length));
          }
          agrees(Uint8Array.from(line));
        },
      ),
      { numRuns: 20_000 },
    );
  });

  /** Reads lines as a tracker in Python does, and crashes as one does on what it cannot read. */
  const pythonReader = `
import json, math, sys
count = 0
for line in sys.stdin.buffer:
    frame = json.loads(line.decode("ascii"))
    columns = [frame[key] for key in ("delay", "doppler", "snr")]
    assert all(math.isfinite(float(x)) for column in columns for x in column)
    assert math.isfinite(float(frame["timestamp"])) and len({len(column) for column in columns}) == 1
    assert all(a is None or isinstance(a, dict) for a in frame.get("adsb", []))
    count += 1
print(count)
`;

  test.skipIf(Bun.which("python3") === null)("lets through only what Python can read", () => {
    const accepted: Uint8Array[] = [];
    for (const line of fc.sample(frameText, 3000)) {
      const bytes = encoder.encode(line);
      const verdict = check(bytes);
      if (verdict.at === "frame") accepted.push(bytes, Uint8Array.of(10));
      if (verdict.at === "reencoded") accepted.push(verdict.replacement);
    }
    const python = Bun.spawnSync(["python3", "-c", pythonReader], {
      stdin: Buffer.concat(accepted),
    });
    expect(python.stderr.toString()).toBe("");
    expect(Number(python.stdout.toString())).toBeGreaterThan(500);
  });

  test("reads only its own part of the buffer", () => {
    fc.assert(
      fc.property(frameText, fc.string(), fc.string(), (line, before, after) => {
        const [a, b, c] = [before, line, after].map((s) => encoder.encode(s)) as [
          Uint8Array,
          Uint8Array,
          Uint8Array,
        ];
        const alone = checkFrame(b, 0, b.length);
        const within = checkFrame(Buffer.concat([a, b, c]), a.length, a.length + b.length);
        expect(within).toEqual(alone);
      }),
    );
  });

  test("accepts no part of a frame, whether the buffer ends there or continues", () => {
    const whole = encoder.encode(
      '{"timestamp":1783500000000,"delay":[1.5,-2],"doppler":[3,0],"snr":[4,5.25],' +
        '"adsb":[null,{"hex":"a1b2c3","f":[true,false,null],"n":{"x":-1.5}}]}',
    );
    expect(check(whole).at).toBe("frame");
    for (let end = 0; end < whole.length; end++) {
      expect(checkFrame(whole, 0, end).at).toBe("not_frame");
      expect(check(whole.slice(0, end)).at).toBe("not_frame");
      expect(scanFrame(whole, 0, end)).toBe(false);
      prepareFrames(whole);
      expect(scanPrepared(whole, 0, end)).toBe(false);
    }
    for (let start = 1; start < whole.length; start++)
      expect(checkFrame(whole, start, whole.length).at).toBe("not_frame");
  });

  const hostile: readonly [string, string | Uint8Array, string][] = [
    [
      "invalid UTF-8",
      Uint8Array.of(...encoder.encode(`{"timestamp":1,${rest},"x":"`), 0xff, 0x22, 0x7d),
      "bad_utf8",
    ],
    [
      "half of a two-byte character",
      Uint8Array.of(...encoder.encode(`{"timestamp":1,${rest},"x":"`), 0xc3, 0x22, 0x7d),
      "bad_utf8",
    ],
    [
      "an overlong encoding",
      Uint8Array.of(...encoder.encode(`{"timestamp":1,${rest},"x":"`), 0xc0, 0x80, 0x22, 0x7d),
      "bad_utf8",
    ],
    ["nothing", "", "bad_json"],
    ["blanks", "   ", "bad_json"],
    ["an array", "[1,2]", "not_an_object"],
    ["a number", "42", "not_an_object"],
    ["a string", '"frame"', "not_an_object"],
    ["null", "null", "not_an_object"],
    ["no timestamp", `{${rest}}`, "bad_timestamp"],
    ["a timestamp of null", `{"timestamp":null,${rest}}`, "bad_timestamp"],
    ["a timestamp in quotes", `{"timestamp":"1",${rest}}`, "bad_timestamp"],
    ["an endless timestamp", `{"timestamp":1e999,${rest}}`, "bad_timestamp"],
    ["a heartbeat", '{"node_id":"a","token":"t","type":"heartbeat"}', "bad_timestamp"],
    ["a reset", '{"type":"RESET"}', "bad_timestamp"],
    ["null in delay", '{"timestamp":1,"delay":[null],"doppler":[2],"snr":[3]}', "bad_arrays"],
    ["a string in doppler", '{"timestamp":1,"delay":[1],"doppler":["2"],"snr":[3]}', "bad_arrays"],
    ["a bool in snr", '{"timestamp":1,"delay":[1],"doppler":[2],"snr":[true]}', "bad_arrays"],
    ["a list in delay", '{"timestamp":1,"delay":[[1]],"doppler":[2],"snr":[3]}', "bad_arrays"],
    ["a number too large", '{"timestamp":1,"delay":[1e999],"doppler":[2],"snr":[3]}', "bad_arrays"],
    ["no snr", '{"timestamp":1,"delay":[1],"doppler":[2]}', "bad_arrays"],
    ["delay that is no list", '{"timestamp":1,"delay":1,"doppler":[2],"snr":[3]}', "bad_arrays"],
    ["NaN", '{"timestamp":1,"delay":[NaN],"doppler":[2],"snr":[3]}', "bad_json"],
    [
      "arrays of two lengths",
      '{"timestamp":1,"delay":[1,2],"doppler":[2],"snr":[3]}',
      "ragged_arrays",
    ],
    ["a number in adsb", `{"timestamp":1,${rest},"adsb":[1]}`, "bad_adsb"],
    ["a string in adsb", `{"timestamp":1,${rest},"adsb":["a1b2c3"]}`, "bad_adsb"],
    ["a list in adsb", `{"timestamp":1,${rest},"adsb":[[]]}`, "bad_adsb"],
    ["adsb of another length", `{"timestamp":1,${rest},"adsb":[]}`, "bad_adsb"],
    ["adsb of null", `{"timestamp":1,${rest},"adsb":null}`, "bad_adsb"],
    ["two objects", `{"timestamp":1,${rest}}{"timestamp":1,${rest}}`, "bad_json"],
    ["a raw control character in a string", `{"timestamp":1,${rest},"x":"\u0001"}`, "bad_json"],
    [
      "an integer Python does not read",
      `{"timestamp":1,${rest},"x":${"1".repeat(5000)}}`,
      "bad_number",
    ],
    [
      "such an integer behind a repeated key",
      `{"x":[-${"9".repeat(5000)}],"x":0,"timestamp":1,${rest}}`,
      "bad_number",
    ],
    [
      "an integer past all doubles",
      `{"timestamp":1,"delay":[${"9".repeat(400)}],"doppler":[2],"snr":[3]}`,
      "bad_arrays",
    ],
    [
      "such an integer in adsb",
      `{"timestamp":1,${rest},"adsb":[{"alt":${"9".repeat(400)}}]}`,
      "bad_number",
    ],
    ["an empty object closed as a list", `{"timestamp":1,${rest},"adsb":[{"a":{]}]}`, "bad_json"],
    ["an empty list closed as an object", `{"timestamp":1,${rest},"adsb":[{"a":[}}]}`, "bad_json"],
    ["a list closed as an object", `{"timestamp":1,${rest},"adsb":[{"a":[1}}]}`, "bad_json"],
    ["the shortest such integer", `{"timestamp":1,${rest},"x":[${"9".repeat(309)}]}`, "bad_number"],
    ["a timestamp that begins with 0", `{"timestamp":0123,${rest}}`, "bad_json"],
    ["an infinity in adsb", `{"timestamp":1,${rest},"adsb":[{"alt":1e400}]}`, "bad_number"],
  ];

  test.each(hostile)("refuses %s", (_what, line, problem) => {
    expect(problemOf(line)).toBe(problem);
  });

  test("returns the object of a line that is one, for control messages", () => {
    const verdict = check('{"type":"skip","to":7}');
    expect(verdict).toMatchObject({ at: "not_frame", object: { type: "skip", to: 7 } });
    expect(check("[1]")).toMatchObject({ at: "not_frame", object: undefined });
  });

  describe.each([
    ["quick", ""],
    ["careful", "\t"],
  ])("on the %s way", (_way, blank) => {
    test(`accepts ${DETECTIONS_MAX} detections and not one more`, () => {
      const line = (n: number): string => {
        const zeros = `[${Array.from({ length: n }, () => "0").join(",")}]`;
        return `{"timestamp":1,"delay":${blank}${zeros},"doppler":${zeros},"snr":${zeros}}`;
      };
      expect(problemOf(line(DETECTIONS_MAX - 1))).toBe("frame");
      expect(problemOf(line(DETECTIONS_MAX))).toBe("frame");
      expect(problemOf(line(DETECTIONS_MAX + 1))).toBe("too_many_detections");
      expect(quickest(line(DETECTIONS_MAX))).toBe(blank === "");
      expect(quickest(line(DETECTIONS_MAX + 1))).toBe(false);
    });

    test("accepts nesting 64 deep and not 65", () => {
      const line = (inner: number): string =>
        `{"timestamp":1,${blank}${rest},"adsb":[{"a":${"[".repeat(inner)}${"]".repeat(inner)}}]}`;
      expect(problemOf(line(61))).toBe("frame");
      expect(problemOf(line(62))).toBe("too_deep");
      expect(problemOf(line(100_000))).toBe("too_deep");
    });
  });

  test("counts nesting behind a repeated key, and not in strings", () => {
    const deep = `${"[".repeat(70)}${"]".repeat(70)}`;
    expect(problemOf(`{"x":${deep},"x":1,"timestamp":1,${rest}}`)).toBe("too_deep");
    expect(problemOf(`{"x":"\\"${deep}","timestamp":1,${rest}}`)).toBe("frame");
  });

  test("re-encodes non-ASCII frames, and refuses them when that makes them too long", () => {
    const line = (t: string): string => `{"timestamp":1,${rest},"adsb":[{"t":"${t}"}]}`;
    const verdict = check(line("\u007f\u0080é😀\u2028"));
    expect(verdict.at).toBe("reencoded");
    if (verdict.at !== "reencoded") return;
    expect(Buffer.from(verdict.replacement).toString()).toBe(
      `${line("\u007f\\u0080\\u00e9\\ud83d\\ude00\\u2028")}\n`,
    );
    // With its LF, the replacement of this line is as long as a line may be.
    const filler = LINE_BYTES_MAX - line("\\u00e9").length - 1;
    expect(problemOf(line(`é${"x".repeat(filler)}`))).toBe("reencoded");
    expect(problemOf(line(`é${"x".repeat(filler + 1)}`))).toBe("too_long");
  });
});

describe("encodeAscii", () => {
  test("writes one line of ASCII with the same value, for any value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ unit: "binary" }), (json, s) => {
        const value = { json, s };
        const line = encodeAscii(value);
        expect(isAscii(line)).toBe(true);
        expect(line.indexOf(10)).toBe(line.length - 1);
        expect(JSON.stringify(JSON.parse(Buffer.from(line).toString("ascii")))).toBe(
          JSON.stringify(value),
        );
      }),
    );
  });
});
