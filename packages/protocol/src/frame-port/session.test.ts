import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  CONTROL_BYTES_MAX,
  encodeLine,
  type Hello,
  helloSchema,
  parseServerLine,
  REJECT_CODES,
  type ServerLine,
  skipSchema,
} from "./session.ts";

const seq = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const serverLine: fc.Arbitrary<ServerLine> = fc.oneof(
  fc.record({
    type: fc.constant("welcome" as const),
    acked: seq,
    window_bytes: fc.integer({ min: 1 }),
  }),
  fc.record({
    type: fc.constant("reject" as const),
    code: fc.oneof(fc.constantFrom(...REJECT_CODES), fc.string()),
    message: fc.string({ unit: "binary" }),
    retryable: fc.boolean(),
  }),
  fc.record({ type: fc.constant("ack" as const), seq }),
  fc.record({ type: fc.constant("rejected" as const), seq, code: fc.string() }),
  fc.record({ type: fc.constant("bye" as const), code: fc.string() }),
);

const hello = (change: object = {}): Hello =>
  ({
    type: "hello",
    protocol: 1,
    node_id: "radar3",
    sensor: "radar",
    token: "t",
    instance_id: "i-1",
    epoch: 7,
    spool_id: "s-1",
    first_seq: 1041,
    ...change,
  }) as Hello;

describe("lines of the coordinator", () => {
  test("are read as they were written, one line each, whatever text they hold", () => {
    fc.assert(
      fc.property(serverLine, (line) => {
        const encoded = encodeLine(line);
        expect(encoded.indexOf("\n")).toBe(encoded.length - 1);
        expect(parseServerLine(encoded.slice(0, -1))).toEqual(line);
      }),
    );
  });

  test("may hold keys of a newer version, which are left out", () => {
    expect(parseServerLine('{"type":"ack","seq":5,"hint":"slow"}')).toEqual({
      type: "ack",
      seq: 5,
    });
  });

  test.each([
    ["no JSON", "ack 5"],
    ["nothing", ""],
    ["no object", "[]"],
    ["null", "null"],
    ["no type", '{"seq":1}'],
    ["a type of a newer version", '{"type":"pause","ms":5}'],
    ["a frame", '{"timestamp":1,"delay":[],"doppler":[],"snr":[]}'],
    ["an ack below 0", '{"type":"ack","seq":-1}'],
    ["an ack between two numbers", '{"type":"ack","seq":1.5}'],
    ["an ack past exact integers", '{"type":"ack","seq":9007199254740993}'],
    ["an ack in quotes", '{"type":"ack","seq":"5"}'],
    ["an ack of nothing", '{"type":"ack"}'],
    ["a window of 0", '{"type":"welcome","acked":0,"window_bytes":0}'],
    ["a reject that does not say whether to retry", '{"type":"reject","code":"x","message":"y"}'],
    ["a half line", '{"type":"ack","seq":1'],
  ])("are none when they are %s", (_what, text) => {
    expect(parseServerLine(text)).toBeUndefined();
  });
});

describe("hello", () => {
  test("is the same after encoding and parsing", () => {
    expect(helloSchema.parse(JSON.parse(encodeLine(hello())))).toEqual(hello());
  });

  test("fits a control line even with the longest fields", () => {
    const long = "x".repeat(64);
    const longest = hello({
      node_id: long,
      sensor: long,
      instance_id: long,
      spool_id: long,
      token: "x".repeat(4096),
      epoch: Number.MAX_SAFE_INTEGER,
      first_seq: Number.MAX_SAFE_INTEGER,
    });
    expect(helloSchema.safeParse(longest).success).toBe(true);
    expect(Buffer.byteLength(encodeLine(longest))).toBeLessThanOrEqual(CONTROL_BYTES_MAX);
  });

  test.each([
    ["another type", { type: "hallo" }],
    ["an id with a dot", { node_id: "a.b" }],
    ["a sensor name with a slash", { sensor: "a/b" }],
    ["an empty token", { token: "" }],
    ["too long a token", { token: "x".repeat(4097) }],
    ["epoch 0", { epoch: 0 }],
    ["sequence number 0", { first_seq: 0 }],
    ["half a sequence number", { first_seq: 1.5 }],
    ["no spool", { spool_id: undefined }],
  ])("is refused with %s", (_what, change) => {
    expect(helloSchema.safeParse(hello(change)).success).toBe(false);
  });
});

test("skip is the same after encoding and parsing, and its number is at least 1", () => {
  const skip = { type: "skip", to: 2001 } as const;
  expect(skipSchema.parse(JSON.parse(encodeLine(skip)))).toEqual(skip);
  expect(skipSchema.safeParse({ type: "skip", to: 0 }).success).toBe(false);
});
